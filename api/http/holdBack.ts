import type { Request, RequestHandler } from 'express';

/**
 * Requests without a key cost something, too, and there is one thread. A limited number from one address are answered at once in each
 * second; the others are held back for a second, which costs nothing: a hundred connections then make some two hundred requests
 * a second, whatever they try, and nobody with a key waits for them. Behind a proxy all clients have one address, and so no
 * request with a valid key is ever counted, nor are the probes of `/healthz` and `/readyz`.
 */

export interface HoldBack {
  /** Resolves at once, or later, where the address has sent too many such requests in this second. */
  hold(request: Request): Promise<void>;
}

export interface HoldBackOptions {
  perSecond?: number;
  holdMs?: number;
}

const DEFAULT_PER_SECOND = 100;
const DEFAULT_HOLD_MS = 1_000;
const SECOND_MS = 1_000;

export function createHoldBack({
  perSecond = DEFAULT_PER_SECOND,
  holdMs = DEFAULT_HOLD_MS,
}: HoldBackOptions = {}): HoldBack {
  // Emptied every second, and so never larger than what a second's connections can make it.
  let counts = new Map<string, number>();
  let sinceMs = performance.now();

  return {
    async hold(request) {
      const nowMs = performance.now();
      if (nowMs - sinceMs >= SECOND_MS) {
        counts = new Map();
        sinceMs = nowMs;
      }
      const address = request.socket.remoteAddress ?? '';
      const count = (counts.get(address) ?? 0) + 1;
      counts.set(address, count);
      if (count > perSecond) await new Promise((resolve) => setTimeout(resolve, holdMs));
    },
  };
}

/** For what is served outside the routes table. */
export function heldBack(holdBack: HoldBack): RequestHandler {
  return async (request, _response, next) => {
    await holdBack.hold(request);
    next();
  };
}
