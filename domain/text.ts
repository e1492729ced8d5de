/** Text that Postgres can keep: neither NUL in text nor half a surrogate pair in JSON. */
const UNSTORABLE = /\0|\p{Surrogate}/u;

export function isStorable(text: string): boolean {
  return !UNSTORABLE.test(text);
}

/** At most `max` UTF-16 units of the text, with U+FFFD for what cannot be kept: for words we did not choose. */
export function storable(text: string, max: number): string {
  return text.slice(0, max).replaceAll(new RegExp(UNSTORABLE, 'gu'), '\uFFFD');
}
