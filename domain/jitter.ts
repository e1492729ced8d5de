import { sha256 } from 'js-sha256';

/** A fixed delay within the window, the same for an account every time and spread evenly over accounts. */
export function jitterMs({ account, windowMs }: { account: string; windowMs: number }): number {
  return Math.floor((Number.parseInt(sha256(account).slice(0, 8), 16) / 0x1_0000_0000) * windowMs);
}
