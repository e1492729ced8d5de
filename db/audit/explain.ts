import type { Knex } from 'knex';
import { milli, toCredits } from '../../domain/credits';

/** One account in words, for whoever has to tell a customer what happened. Null: there is no such account. */
export async function explainAccount(knex: Knex, account: string): Promise<string | null> {
  const found = await knex('ledger.accounts as a')
    .join('ledger.account_rules as r', 'r.account_id', 'a.account_id')
    .where('a.account_id', account)
    .first<AccountRow | undefined>(
      'a.*',
      'r.catalog',
      'r.plan',
      'r.plan_source',
      'r.timezone',
      'r.suspended',
    );
  if (found === undefined) return null;
  const lots: LotRow[] = await knex('ledger.lots')
    .where({ account_id: account })
    .whereRaw('available + held + frozen > 0')
    .orderBy(['rank', 'expires_at', 'lot_no']);
  const holds: HoldRow[] = await knex('ledger.holds')
    .where({ account_id: account, open: true })
    .orderBy('opened_at');
  const debts: DebtRow[] = await knex('ledger.debts').where({ account_id: account }).orderBy('seq');
  const rows: JournalRow[] = await knex('ledger.journal')
    .where({ account_id: account })
    .orderBy('seq', 'desc')
    .limit(LAST_ROWS);
  const opening = await knex('ledger.openings')
    .where({ account_id: account })
    .first<{ seq: number; at: Date } | undefined>();
  return [
    `Account ${account}: catalog ${found.catalog}, plan ${found.plan} (${found.plan_source}), zone ${found.timezone}${found.suspended ? ', SUSPENDED' : ''}`,
    `  ${credits(found.available)} available, ${credits(found.held)} held by ${found.open_holds} open hold(s), ${credits(found.debt)} debt`,
    `  ${found.seq} journal rows, the last at ${instant(found.journal_at)}${found.clock_at === null ? '' : `; on a test clock, at ${instant(found.clock_at)}`}`,
    `  to be settled before any use from ${instant(found.next_due_at)}; wakes at ${instant(found.wake_at)}`,
    ...(opening === undefined ? [] : [`  rows up to ${opening.seq} (${instant(opening.at)}) are archived`]),
    '',
    `Lots that hold something, in spend order (${lots.length}):`,
    ...lots.map(
      (lot) =>
        `  ${lot.lot_no} ${lot.bucket} from ${lot.source}: granted ${credits(lot.granted)}, available ${credits(lot.available)}, held ${credits(lot.held)}, frozen ${credits(lot.frozen)}, ends ${instant(lot.expires_at)}`,
    ),
    `Open holds (${holds.length}):`,
    ...holds.map(
      (hold) =>
        `  ${hold.hold_id}: ${credits(hold.held)} of ${credits(hold.amount)} held since ${instant(hold.opened_at)}, ${hold.expires_at === null ? `workflow ${hold.workflow_id}` : `leased until ${instant(hold.expires_at)}`}`,
    ),
    `Debts (${debts.length}):`,
    ...debts.map(({ cause, owed, repaid }) => `  ${cause}: ${credits(owed)} owed, ${credits(repaid)} repaid`),
    '',
    `The last ${rows.length} rows of its journal, newest first:`,
    ...rows.map(inWords),
    '',
  ].join('\n');
}

const LAST_ROWS = 20;

function inWords(row: JournalRow): string {
  const what =
    row.status === 'applied'
      ? `${row.credits > 0 ? '+' : ''}${credits(row.credits)}`
      : `refused, ${row.status}`;
  const whom = [row.hold_id, row.actor === null ? null : `by ${row.actor}`, row.reason].filter(
    (part) => part !== null,
  );
  return `  ${row.seq} ${instant(row.at)} ${row.kind} ${what} → ${credits(row.available_after)} available, ${credits(row.held_after)} held${whom.length === 0 ? '' : ` (${whom.join(', ')})`}`;
}

function credits(amount: number): string {
  return toCredits(milli(amount)).toLocaleString('en', { maximumFractionDigits: 3 });
}

/** Postgres' infinities come as numbers. */
function instant(at: Date | number): string {
  if (at instanceof Date || typeof at === 'object') return at.toISOString();
  return at > 0 ? 'never' : 'now';
}

interface AccountRow {
  catalog: string;
  plan: string;
  plan_source: string;
  timezone: string;
  suspended: boolean;
  available: number;
  held: number;
  debt: number;
  open_holds: number;
  seq: number;
  journal_at: Date | number;
  clock_at: Date | null;
  next_due_at: Date | number;
  wake_at: Date | number;
}
interface LotRow {
  lot_no: number;
  bucket: string;
  source: string;
  granted: number;
  available: number;
  held: number;
  frozen: number;
  expires_at: Date | number;
}
interface HoldRow {
  hold_id: string;
  amount: number;
  held: number;
  opened_at: Date;
  expires_at: Date | null;
  workflow_id: string | null;
}
interface DebtRow {
  cause: string;
  owed: number;
  repaid: number;
}
interface JournalRow {
  seq: number;
  at: Date;
  kind: string;
  status: string;
  credits: number;
  available_after: number;
  held_after: number;
  hold_id: string | null;
  actor: string | null;
  reason: string | null;
}
