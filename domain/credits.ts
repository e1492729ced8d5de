/**
 * Amounts of credits. Inside Holdfast an amount is an integer number of millicredits (1 credit = 1000);
 * at the edge it is a JSON number of credits with at most three decimals. Nothing here is floating point.
 */

declare const milliBrand: unique symbol;

/** A safe integer number of millicredits. */
export type MilliCredits = number & { readonly [milliBrand]: true };

export const MILLI_PER_CREDIT = 1000;

/** The largest amount any single operation may name: one thousand million credits. */
export const MAX_OPERATION_MILLI = 1_000_000_000_000 as MilliCredits;

/**
 * What an account may have, available and held: a million million credits. A caller's operation that would lift it further is
 * refused (ledger.balance_limit). The engine's own grants and returns are not: up to 2^53 there is room for 8,000 of the largest.
 */
export const MAX_BALANCE_MILLI = 1_000_000_000_000_000 as MilliCredits;

/** Brands an integer as millicredits. Throws RangeError on a fraction or beyond the safe range. */
export function milli(value: number): MilliCredits {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a whole number of millicredits: ${value}`);
  return value as MilliCredits;
}

/** Credits as a person writes them (73.5) to millicredits (73500). Throws RangeError past three decimals. */
export function toMilli(credits: number): MilliCredits {
  // 73.535 * 1000 is 73534.99..., so the nearest integer is taken and must print back as what was given.
  const value = Math.round(credits * MILLI_PER_CREDIT);
  if (!Number.isSafeInteger(value) || value / MILLI_PER_CREDIT !== credits) {
    throw new RangeError(`not an amount of credits with at most three decimals: ${credits}`);
  }
  return value as MilliCredits;
}

/** Millicredits to the JSON number of credits shown at the edge. Exact for every safe integer below 2^53. */
export function toCredits(value: MilliCredits): number {
  return value / MILLI_PER_CREDIT;
}

export function add(...amounts: readonly MilliCredits[]): MilliCredits {
  return milli(amounts.reduce<number>((sum, amount) => sum + amount, 0));
}

/** floor(amount × numerator ÷ denominator), exact also where the product exceeds 2^53 (rule 13). */
export function floorShare(amount: MilliCredits, numerator: number, denominator: number): MilliCredits {
  if (
    !Number.isSafeInteger(numerator) ||
    !Number.isSafeInteger(denominator) ||
    numerator < 0 ||
    denominator <= 0
  ) {
    throw new RangeError(`not a share: ${numerator}/${denominator}`);
  }
  return milli(Number((BigInt(amount) * BigInt(numerator)) / BigInt(denominator)));
}
