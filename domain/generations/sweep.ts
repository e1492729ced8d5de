/** How many holds a sweep may free on its own (rule 17). */

/** Up to this many are freed without a second thought. */
const FEW_HOLDS = 20;
/** More than these are freed only while they are no more than this share of the open holds that were looked at. */
const SHARE_PERCENT = 1;

/**
 * A restored or wrong namespace looks just like many workflows gone at once, so a large number is somebody's decision:
 * `allowed` is what an operator who has looked at them said to free.
 */
export function mayFree(found: { orphans: number; looked: number; allowed?: number | undefined }): boolean {
  const { orphans, looked, allowed = 0 } = found;
  return orphans <= Math.max(FEW_HOLDS, Math.floor((looked * SHARE_PERCENT) / 100), allowed);
}
