import { milli } from '../../../domain/credits';
import type { TestDatabase } from '../database';
import { ledgerOf, reservation, type TestLedger } from './ledger';
import { byHand } from './byHand';

/** An account with a full life, and everything that can be done to it behind the ledger's back. */

const T0 = '2026-03-01T00:00:00.000Z';
const DAY = 86_400_000;
const after = (ms: number) => new Date(Date.parse(T0) + ms).toISOString();

/** An account that has lived through every kind of operation; its id. `before` lets it have lived through more. */
export async function livelyLedger(
  database: TestDatabase,
  before: (ledger: TestLedger, account: string) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  const ledger = ledgerOf(database.db, database.owner);
  const a = await ledger.open({ clockAt: T0 });
  await before(ledger, a);
  await ledger.grant(a, { bucket: 'daily', rank: 1, amount: 100_000, expiresAt: after(DAY) }); // lot 1
  await ledger.grant(a, {
    bucket: 'plan',
    rank: 2,
    amount: 50_000,
    expiresAt: after(30 * DAY),
    graceSeconds: 86_400,
  }); // lot 2
  await ledger.grant(a, { bucket: 'pack', rank: 3, amount: 30_000 }); // lot 3
  const hold = async (amount: number, more = {}) => {
    const operation = reservation(a, { amount, facts: { excluded: [] }, ...more });
    await ledger.one(a, operation);
    return operation.holdId;
  };
  const captured = await hold(110_000);
  await ledger.capture(a, captured, { delivered: 3, ordered: 4 });
  await hold(10_000, { excluded: ['daily'], facts: { excluded: ['daily'] } }); // stays open
  const released = await hold(15_000);
  await ledger.moveClock(a, after(2 * DAY)); // the daily lot expires, also what is held of it
  await ledger.release(a, released);
  await ledger.one(a, { op: 'refund', key: 'req:r', hash: 'r', holdId: captured, spendableSeconds: 3600 });
  await ledger.one(a, {
    op: 'adjust',
    key: 'req:m',
    hash: 'm',
    bucket: 'pack',
    rank: 3,
    amount: milli(-1_000),
    source: 'x',
  });
  await ledger.reserve(a, { amount: 999_000_000 });
  const { plan, pack } = { plan: { source: 'plan' }, pack: { source: 'pack:1' } };
  await ledger.grant(a, { bucket: 'pack', rank: 3, amount: 40_000, ...pack }); // lot 5, beside the linked lot 4
  const max = {
    counter: 'member:max',
    period: 'month:2026-03',
    of: 'credits',
    units: 500,
    limit: null,
    refusal: 'member_limit_reached',
    name: 'max',
    resetsAt: null,
  } as const;
  await ledger.charge(a, { amount: 500, counts: [max] });
  const leased = await ledger.lease(a, { amount: 2_000, ttlSeconds: 60 });
  await ledger.capture(a, leased, { amount: 700, final: false, phase: 'first' });
  await ledger.lease(a, { amount: 1_000, ttlSeconds: 600 }); // stays open
  await ledger.moveClock(a, after(2 * DAY + 120_000)); // the first lease has ended
  await ledger.one(a, { op: 'freeze', key: 'sys:freeze:d', hash: 'f', cause: 'dispute:1', ...pack });
  await ledger.one(a, {
    op: 'revoke',
    key: 'sys:revoke:r',
    hash: 'r',
    cause: 'refund:1',
    amount: milli(500_000),
    buckets: ['pack', 'plan'],
    ...plan,
  });
  await ledger.grant(a, { bucket: 'pack', rank: 3, amount: 5_000 }); // all of it repays debt
  const nothing = await hold(0, { runs: true });
  await ledger.capture(a, nothing, { delivered: 1, ordered: 1 });
  const inPart = await hold(0, { runs: true });
  await ledger.capture(a, inPart, { amount: 0, final: false, phase: 'frames' });
  await ledger.release(a, inPart); // ends as partial
  await ledger.reserve(a, { amount: 0 }); // a free action
  return a;
}

/** How many lots and journal rows an account had when its lively life began. */
export interface Lived {
  lots: number;
  rows: number;
}

/** As somebody who owns the database and means harm: constraints and triggers do not stand in the way. */
export async function tamper(
  database: TestDatabase,
  sql: string,
  { account = '', before = { lots: 0, rows: 0 } }: { account?: string; before?: Lived } = {},
): Promise<void> {
  const meant = sql
    .replaceAll('$a', account)
    .replaceAll(/\b(lot_no|seq) = (\d+)/g, (_, column: string, number: string) => {
      return `${column} = ${Number(number) + (column === 'seq' ? before.rows : before.lots)}`;
    });
  await byHand(database.owner, async (client) => {
    const { rows } = await client.query<{ drop: string }>(
      `SELECT format('ALTER TABLE ledger.%I DROP CONSTRAINT IF EXISTS %I CASCADE', c.relname, k.conname) AS drop
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'ledger' AND k.contype IN ('c', 'p', 'f') AND k.coninhcount = 0
          AND c.relname NOT IN ('audit_marks', 'audit_lots', 'audit_counters')`,
    );
    for (const { drop } of rows) await client.query(drop);
    await client.query(meant);
  });
}

/** Each check, with what must make it speak: of account $a, with its lots and rows as its lively life numbers them. */
export const TAMPERINGS: Record<string, string> = {
  'lot-conservation': "UPDATE ledger.lots SET spent = spent + 1 WHERE account_id = '$a' AND lot_no = 3",
  'journal-gapless': "DELETE FROM ledger.journal WHERE account_id = '$a' AND seq = 2",
  'journal-refused-moves-nothing':
    "UPDATE ledger.journal SET credits = 5 WHERE account_id = '$a' AND status <> 'applied'",
  'journal-running-totals':
    "UPDATE ledger.journal SET available_after = available_after + 1 WHERE account_id = '$a' AND seq = 3",
  'totals-equal-lots': "UPDATE ledger.accounts SET available = available + 1 WHERE account_id = '$a'",
  'totals-equal-holds': "UPDATE ledger.accounts SET open_holds = open_holds + 1 WHERE account_id = '$a'",
  'totals-equal-journal': "UPDATE ledger.accounts SET debt = debt + 1 WHERE account_id = '$a'",
  'rebuild-lots':
    "UPDATE ledger.lots SET spent = spent - 1, revoked = revoked + 1 WHERE account_id = '$a' AND lot_no = 1",
  'rebuild-lot-terms': "UPDATE ledger.lots SET bucket = 'pack' WHERE account_id = '$a' AND lot_no = 2",
  'rebuild-holds':
    "UPDATE ledger.holds SET captured = captured - 1, released = released + 1 WHERE account_id = '$a' AND NOT open",
  'hold-conservation':
    "UPDATE ledger.holds SET lots_held = ARRAY[1::bigint] WHERE account_id = '$a' AND open",
  'one-hold-per-generation':
    "UPDATE ledger.holds SET generation_id = (SELECT min(generation_id) FROM ledger.holds) WHERE account_id = '$a'",
  'one-capture-per-phase': `INSERT INTO ledger.journal SELECT account_id, 99, at, recorded_at, kind, status, NULL, hold_id, 0, 0, 0, 0, '{}', detail FROM ledger.journal WHERE account_id = '$a' AND kind = 'capture'`,
  'keys-equal-journal': "UPDATE ledger.op_keys SET seq = 1 WHERE account_id = '$a' AND key = 'req:r'",
  'one-request-per-key':
    "INSERT INTO ledger.kept_answers (account_id, key, request_hash) VALUES ('$a', 'req:r', 'another')",
  'archived-keys': `INSERT INTO ledger.openings SELECT account_id, 1, at, recorded_at, 0, 0, 0, 0, 0, 0, 0, '[]', '[]' FROM ledger.journal WHERE account_id = '$a' AND seq = 1`,
  'nothing-taken-after-expiry':
    "UPDATE ledger.lots SET expires_at = effective_at WHERE account_id = '$a' AND lot_no = 2",
  'nothing-available-after-expiry':
    "UPDATE ledger.accounts SET lots_due_at = 'infinity' WHERE account_id = '$a'",
  'open-holds-have-owners': "UPDATE ledger.holds SET workflow_id = NULL WHERE account_id = '$a' AND open",
  'work-has-a-hold': "UPDATE ledger.generations SET workflow_id = NULL WHERE account_id = '$a'",
  'delivered-is-not-failed':
    "UPDATE ledger.generations SET status = 'failed' WHERE account_id = '$a' AND status = 'partial'",
  'spend-order': "UPDATE ledger.lots SET rank = 9 WHERE account_id = '$a' AND lot_no = 1",
  'journal-time': "UPDATE ledger.journal SET at = '2020-01-01' WHERE account_id = '$a' AND seq = 4",
  'issued-equals-parts':
    "UPDATE ledger.lots SET granted = granted + 1, spent = spent + 1 WHERE account_id = '$a' AND lot_no = 3",
  'leases-end': "UPDATE ledger.accounts SET leases_due_at = 'infinity' WHERE account_id = '$a'",
  'debt-equals-causes': "UPDATE ledger.debts SET repaid = repaid + 1 WHERE account_id = '$a'",
  'counters-equal-journal': "UPDATE ledger.counters SET used = used + 1 WHERE account_id = '$a'",
  'frozen-equals-freezes': "UPDATE ledger.freezes SET open = false WHERE account_id = '$a'",
  'journal-speaks-its-language':
    "UPDATE ledger.journal SET kind = 'gift' WHERE account_id = '$a' AND seq = 2",
  'sleepers-sleep': "UPDATE ledger.accounts SET wake_at = '2027-01-01' WHERE account_id = '$a'",
};
