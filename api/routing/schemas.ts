import { z } from 'zod';
import { dateStart } from '../../domain/time/calendar';
import { type MilliCredits, MAX_OPERATION_MILLI, toMilli } from '../../domain/credits';
import { ACCOUNT_ID } from '../../domain/ids';

/** Pieces of requests and answers that several resources share. */

export const accountId = z.string().regex(ACCOUNT_ID, 'An account id has 1 to 64 letters, digits, _ or -.');

/** Ids that carry their account, such as `gen_<account>.<hash>`: only their outer form is checked here. */
export const carriedId = z
  .string()
  .regex(/^[a-z]+_[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}$/, 'This is not an id.');

/** Names that callers choose: members, projects, features. */
export const callerName = z
  .string()
  .min(1)
  .max(128)
  .regex(/^\P{Cc}*$/u, 'A name has no control characters.');

/** The lengths that mail knows (RFC 5321, 4.5.3.1): 64 before the @, 63 between two dots behind it, 254 in all. */
export const email = z
  .email()
  .max(254)
  .refine((address) => {
    const [local = '', domain = ''] = address.split('@');
    return (
      local.length <= 64 && domain.split('.').every((label) => label.length <= 63 && !label.endsWith('-'))
    );
  }, 'Mail takes 64 characters before the @, and 63 between two dots behind it.');

export const reason = z.string().min(1).max(500);

/** An instant as it is sent: RFC 3339, with an offset or Z. Milliseconds count, what is finer is dropped. */
export const instantIn = z.iso
  .datetime({ offset: true })
  .transform((text) => new Date(text))
  .refine(hasFourDigitYear, 'Years go from 0001 to 9999.');

/** A day of the account's calendar. */
export const dayIn = z.iso
  .date({ abort: true })
  .refine((text) => hasFourDigitYear(new Date(text)), 'Years go from 0001 to 9999.');

/** The end of a range of time; `instantOf` makes an instant of either. */
export const dayOrInstant = z
  .string()
  .describe('A day of the account’s calendar, 2026-11-21, or an instant')
  .transform((text, context): string | Date => {
    const parsed = dayIn.safeParse(text).data ?? instantIn.safeParse(text).data;
    if (parsed !== undefined) return parsed;
    context.addIssue({
      code: 'custom',
      message: 'This is neither a day, as 2026-11-21, nor an instant by RFC 3339, in the years 0001 to 9999.',
    });
    return z.NEVER;
  });

/** A day begins at its first instant in the account's zone. */
export function instantOf(given: z.output<typeof dayOrInstant>, zone: string): Date {
  return typeof given === 'string' ? new Date(dateStart(given, zone)) : given;
}

/** The zone of days where a list is of all accounts. */
export const UTC = 'UTC';

/** The range of a list of one account; spread it into the route's query, and make instants of it with `rangeOf`. */
export const rangeFields = {
  from: dayOrInstant.optional(),
  to: dayOrInstant.optional().describe('The same, exclusive'),
};

/** The range of a list of all accounts. */
export const rangeFieldsOfAll = {
  from: dayOrInstant.describe('A day in UTC, 2026-11-21, or an instant').optional(),
  to: rangeFields.to,
};

/** Open on the side that was left out. */
export function rangeOf(
  { from, to }: { from?: string | Date | undefined; to?: string | Date | undefined },
  zone: string,
): { from: Date | undefined; to: Date | undefined } {
  return {
    from: from === undefined ? undefined : instantOf(from, zone),
    to: to === undefined ? undefined : instantOf(to, zone),
  };
}

/** Neither JSON's nor the database's instants go beyond; an offset may carry one across. */
function hasFourDigitYear(at: Date): boolean {
  return at.getUTCFullYear() >= 1 && at.getUTCFullYear() <= 9999;
}

/** An instant as it is shown: RFC 3339 in UTC with milliseconds. */
export const instantOut = z.iso
  .datetime({ precision: 3 })
  .refine((text) => hasFourDigitYear(new Date(text)), 'Years go from 0001 to 9999.');

/** A Date to what `instantOut` describes. */
export function shown(at: Date): string {
  return at.toISOString();
}

/** Credits as they are shown. */
export const creditsOut = z.number().describe('Credits, with at most three decimals');

/** Credits as they are sent, above zero, to millicredits. */
export const creditsIn = creditsAmount((amount) => amount > 0, 'Credits must be above zero.');

/** Credits as they are sent, zero or more, to millicredits. */
export const creditsFromZero = creditsAmount((amount) => amount >= 0, 'Credits must not be negative.');

/** Credits as they are sent, negative ones take; to millicredits. */
export const signedCreditsIn = creditsAmount((amount) => amount !== 0, 'Credits must not be zero.');

function creditsAmount(
  allowed: (amount: number) => boolean,
  message: string,
): z.ZodType<MilliCredits, number> {
  return z
    .number()
    .describe('Credits, with at most three decimals')
    .transform((credits, context): MilliCredits => {
      if (Math.abs(credits) * 1000 > MAX_OPERATION_MILLI) {
        context.addIssue({ code: 'custom', message: 'Credits must be at most 1,000,000,000.' });
        return z.NEVER;
      }
      try {
        const amount = toMilli(credits);
        if (!allowed(amount)) context.addIssue({ code: 'custom', message });
        return amount;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        context.addIssue({ code: 'custom', message: 'Credits have at most three decimals.' });
        return z.NEVER;
      }
    });
}

/** Opaque to us, so its size is all we check. `bytes` is counted as JSON in UTF-8. */
export function boundedJson<S extends z.ZodType>(schema: S, bytes: number): S {
  return schema.refine((value) => Buffer.byteLength(JSON.stringify(value) ?? '') <= bytes, {
    message: `This must be at most ${bytes} bytes of JSON.`,
  });
}

const MAX_METADATA_BYTES = 4096;

export const metadata = boundedJson(z.record(z.string(), z.unknown()), MAX_METADATA_BYTES);
