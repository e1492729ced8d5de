import StripeSdk from 'stripe';

/** How Stripe is reached. */

export interface StripeSettings {
  secretKey: string;
  /** Another server that speaks Stripe's protocol, for example http://127.0.0.1:12111; undefined: Stripe itself. */
  base?: string | undefined;
}

/** STRIPE_SECRET_KEY and STRIPE_API_BASE. Throws an error that says what to set; it never holds the key. */
export function stripeSettings(environment: Readonly<Record<string, string | undefined>>): StripeSettings {
  const { STRIPE_SECRET_KEY: secretKey, STRIPE_API_BASE: base } = environment;
  if (secretKey === undefined || !/^(sk|rk)_(test|live)_\w+$/.test(secretKey))
    throw new Error(
      'STRIPE_SECRET_KEY must be a secret or restricted key of Stripe, such as sk_test_…; the dashboard shows it under Developers, API keys.',
    );
  if (base && !URL.canParse(base))
    throw new Error(`STRIPE_API_BASE must be a URL such as https://api.stripe.com, and is "${base}".`);
  return { secretKey, base: base || undefined };
}

export function createStripe({ secretKey, base }: StripeSettings): StripeSdk {
  const url = base === undefined ? null : new URL(base);
  return new StripeSdk(secretKey, {
    // Repeats of a request carry its idempotency key.
    maxNetworkRetries: 2,
    timeout: 20_000,
    telemetry: false,
    appInfo: { name: 'holdfast' },
    ...(url === null
      ? {}
      : {
          host: url.hostname,
          port: url.port || (url.protocol === 'http:' ? 80 : 443),
          protocol: url.protocol === 'http:' ? ('http' as const) : ('https' as const),
        }),
  });
}

/** Whether real money moves with this key. */
export function isLive({ secretKey }: StripeSettings): boolean {
  return /^(sk|rk)_live_/.test(secretKey);
}
