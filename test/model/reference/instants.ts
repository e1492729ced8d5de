/** Microseconds since the epoch, as exact as the database's timestamps; both infinities are instants too. */
export type Micros = number;

export const SECOND = 1_000_000;
export const HOUR = 3_600 * SECOND;
export const DAY = 24 * HOUR;

/** As the ledger's operations carry an instant. */
export function instantText(at: Micros): string {
  if (at === Number.POSITIVE_INFINITY) return 'infinity';
  if (at === Number.NEGATIVE_INFINITY) return '-infinity';
  const milliseconds = new Date(Math.floor(at / 1000)).toISOString().slice(0, -1);
  return `${milliseconds}${String(at % 1000).padStart(3, '0')}Z`;
}

/** As the database writes one into JSON, in UTC. */
export function microsOf(text: string): Micros {
  if (text === 'infinity') return Number.POSITIVE_INFINITY;
  if (text === '-infinity') return Number.NEGATIVE_INFINITY;
  const [, seconds, fraction = ''] = /^([^.+Z]+)(?:\.(\d+))?(?:\+00:00|Z)$/.exec(text) ?? [];
  if (seconds === undefined) throw new Error(`not an instant in UTC: ${text}`);
  return Date.parse(`${seconds}Z`) * 1000 + Number(fraction.padEnd(6, '0'));
}
