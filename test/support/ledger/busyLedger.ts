import * as fc from 'fast-check';
import type { Operation } from '../../../db/ledger/operations';
import { milli } from '../../../domain/credits';
import type { TestLedger } from './ledger';

/** An account that lives through operations of every kind in any order, for tests of what must always hold. */

export const T0 = Date.parse('2026-03-01T00:00:00.000Z');
const HOUR = 3_600_000;

/** One step: what to try, with which of what is there, and how much of it. Steps that make no sense are refused. */
export interface Step {
  what: (typeof STEPS)[number];
  which: number;
  amount: number;
  hours: number;
}

const STEPS = [
  'daily',
  'plan',
  'pack',
  'reserve',
  'reserve',
  'lease',
  'lease',
  'charge',
  'phase',
  'capture',
  'release',
  'refund',
  'extend',
  'adjust',
  'take',
  'revoke',
  'freeze',
  'unfreeze',
  'clock',
  'clock',
] as const;

export const steps = fc.array(
  fc.record({
    what: fc.constantFrom(...STEPS),
    which: fc.nat(20),
    amount: fc.integer({ min: 1, max: 9_000 }),
    hours: fc.integer({ min: 1, max: 30 }),
  }),
  { minLength: 15, maxLength: 45, size: 'max' },
);

/** Lives through the steps, and returns the account and its clock. Nobody touches it after the last one. */
export async function live(
  ledger: TestLedger,
  life: readonly Step[],
): Promise<{ account: string; nowMs: number }> {
  const clockAt = iso(T0);
  const account = await ledger.open({ clockAt });
  const holds: string[] = [];
  const packs: string[] = [];
  let nowMs = T0;
  let n = 0;

  await ledger.grant(account, { bucket: 'pack', rank: 3, amount: 20_000, source: 'pack:first' });
  packs.push('pack:first');
  for (const step of life) await take(step);
  return { account, nowMs };

  async function take({ what, which, amount, hours }: Step): Promise<void> {
    n += 1;
    const holdId = holds[which % Math.max(1, holds.length)] ?? 'none';
    const source = packs[which % packs.length] ?? 'none';
    const keyed = { key: `req:${n}`, hash: 'h', reason: `step ${n}` };
    const expiresAt = iso(nowMs + hours * HOUR);
    const apply = (operation: Operation) => ledger.one(account, operation);
    switch (what) {
      case 'daily':
      case 'plan': {
        const rank = what === 'daily' ? 1 : 2;
        const graceSeconds = what === 'plan' && which % 2 === 0 ? 5 * 3600 : null;
        const replacing = { source: `${what}:${n}`, replaces: which % 3 === 0 };
        await ledger.grant(account, { bucket: what, rank, amount, expiresAt, graceSeconds, ...replacing });
        return;
      }
      case 'pack':
        packs.push(`pack:${n}`);
        await ledger.grant(account, { bucket: 'pack', rank: 3, amount, source: `pack:${n}` });
        return;
      case 'reserve': {
        const reply = await ledger.reserve(account, { amount });
        if (reply.hold != null) holds.push(reply.hold.holdId);
        return;
      }
      case 'lease':
        holds.push(await ledger.lease(account, { amount, ttlSeconds: hours * 1800 }));
        return;
      case 'charge': {
        const reply = await ledger.charge(account, { amount });
        if (reply.hold != null) holds.push(reply.hold.holdId);
        return;
      }
      case 'phase':
        await ledger.capture(account, holdId, { final: false, phase: String(n), amount: amount % 700 });
        return;
      case 'capture':
        await ledger.capture(account, holdId, { delivered: which % 5, ordered: 4, clamp: true });
        return;
      case 'release':
        await ledger.release(account, holdId, { cause: which % 2 === 0 ? 'customer' : 'provider' });
        return;
      case 'refund':
        await apply({ op: 'refund', ...keyed, holdId, spendableSeconds: hours * 3600 });
        return;
      case 'extend':
        await apply({ op: 'extend', ...keyed, leased: true, holdId, ttlSeconds: hours * 3600 });
        return;
      case 'adjust':
      case 'take': {
        const sign = what === 'take' ? -1 : 1;
        const lot = { bucket: 'pack', rank: 3, source: 'adjustment' };
        await apply({ op: 'adjust', ...keyed, ...lot, amount: milli(sign * (amount % 2_000 || 1)) });
        return;
      }
      case 'revoke': {
        // Enough to leave a debt now and then.
        const from = { cause: `cause-${which % 3}`, source, buckets: ['pack', 'plan'] };
        await apply({ op: 'revoke', ...keyed, ...from, amount: milli(amount * 3) });
        return;
      }
      case 'freeze':
        await apply({ op: 'freeze', ...keyed, cause: `cause-${which % 3}`, source });
        return;
      case 'unfreeze':
        await apply({ op: 'unfreeze', ...keyed, cause: `cause-${which % 3}` });
        return;
      case 'clock':
        nowMs += hours * HOUR;
        await ledger.moveClock(account, iso(nowMs));
        return;
    }
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
