/** Amounts of money as Stripe counts them: integers in the currency's smallest unit. Source: docs.stripe.com/currencies. */

const NO_DECIMALS = new Set('BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF'.split(' '));
const THREE_DECIMALS = new Set('BHD JOD KWD OMR TND'.split(' '));
/** Counted in hundredths, of which only whole units may be charged. */
const WHOLE_UNITS_IN_HUNDREDTHS = new Set('ISK UGX'.split(' '));

/** An amount in whole units of its currency (13.5 USD) in Stripe's smallest unit (1350). Throws where it is not exactly one. */
export function minorUnits(amount: number, currency: string): number {
  const code = currency.toUpperCase();
  const decimals = decimalsOf(code);
  const minor = Math.round(amount * 10 ** decimals);
  // Money of a catalog is at most a million, so that a thousandth of a smallest unit is far above what doubles lose.
  const isExact = Math.abs(amount * 10 ** decimals - minor) < 0.001;
  const step = THREE_DECIMALS.has(code) ? 10 : WHOLE_UNITS_IN_HUNDREDTHS.has(code) ? 100 : 1;
  if (!isExact || minor % step !== 0)
    throw new RangeError(
      `${amount} ${code} cannot be charged: Stripe takes multiples of ${step / 10 ** decimals} ${code}`,
    );
  return minor;
}

/** An amount in Stripe's smallest unit, to read: 13.50 USD. */
export function moneyText(minor: number, currency: string): string {
  const code = currency.toUpperCase();
  const decimals = decimalsOf(code);
  return `${(minor / 10 ** decimals).toFixed(decimals)} ${code}`;
}

function decimalsOf(code: string): number {
  return NO_DECIMALS.has(code) ? 0 : THREE_DECIMALS.has(code) ? 3 : 2;
}
