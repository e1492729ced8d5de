/** An anchor from which a monthly cycle begins at this very instant: in a January, which has every day there is. */
export function anchorBefore(boundary: Date): string {
  const anchor = new Date(boundary);
  anchor.setUTCFullYear(boundary.getUTCFullYear() - 1, 0, boundary.getUTCDate());
  return anchor.toISOString();
}
