import { z } from 'zod';
import type { Database } from '../../../db/connection/connection';
import type { Ledger } from '../../../db/ledger/ledger';
import {
  readStatement,
  STATEMENT_KINDS,
  type Statement,
  type StatementLine,
} from '../../../db/books/statement';
import { type Snapshot, toMs } from '../../../domain/account';
import { currentCycle } from '../accounts/balanceBody';
import { toCredits } from '../../../domain/credits';
import { bookedAccount } from '../accounts/bookedAccount';
import { invalidField } from '../../problems/common';
import { assertRows, type Columns, csvAnswer, csvFields, MAX_ROWS, wantsCsv } from '../../routing/csv';
import { accountFrom, type Route, route } from '../../routing/route';
import { accountId, creditsOut, dayOrInstant, instantOf, instantOut, shown } from '../../routing/schemas';
import { inCredits, lotChanges, lotsCell } from './schemas';

/** What a customer is sent at the end of the month. */

export interface StatementRouteDeps {
  db: Database;
  ledger: Ledger;
}

const rangeQuery = z.strictObject({
  from: dayOrInstant
    .optional()
    .describe(
      'A day of the account’s calendar, or an instant. By default the beginning of the current cycle',
    ),
  to: dayOrInstant.optional().describe('The same, exclusive. By default now, and never later than that'),
  ...csvFields,
});

const statementLine = z.object({
  at: instantOut,
  kind: z.enum(STATEMENT_KINDS),
  credits: creditsOut.describe('The change of what is available'),
  held: creditsOut.describe('The change of what is held'),
  generation: z.string().nullable(),
  hold: z.string().nullable(),
  action: z.string().nullable(),
  model: z.string().nullable(),
  member: z.string().nullable(),
  lots: lotChanges,
  key: z.string().nullable(),
  reason: z.string().nullable(),
});

const statement = z
  .object({
    account: z.string(),
    from: instantOut,
    to: instantOut,
    opening: creditsOut.describe('What was available just before `from`'),
    openingHeld: creditsOut,
    lines: z.array(statementLine),
    closing: creditsOut.describe('What was available just before `to`: opening and the lines, added up'),
    closingHeld: creditsOut,
  })
  .meta({ id: 'Statement' });

export function statementRoutes({ db, ledger }: StatementRouteDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/accounts/{id}/statement',
      load: 'report',
      summary: 'Statement: opening, a signed line for each change, closing',
      description:
        'The balance is what is available: what a running generation holds has left it, and comes back with what is ' +
        'released. A generation is one line, net of all that happened to it within the range. ' +
        `At most ${MAX_ROWS} lines.`,
      tag: 'Ledger',
      scope: 'read',
      account: accountFrom.param('id'),
      csv: true,
      errors: ['unknown_account', 'too_many_rows', 'history_archived'],
      params: z.strictObject({ id: accountId }),
      query: rangeQuery,
      responses: { 200: statement },
    }).handle(async ({ params, query, prefersCsv }) => {
      const range = rangeOf(query, await bookedAccount({ ledger }, params.id));
      const found = await readStatement(db.reports, { account: params.id, ...range, limit: MAX_ROWS + 1 });
      assertRows(found.lines);
      const asked = { account: params.id, ...range, ...found };
      return wantsCsv({ query, prefersCsv }) ? asCsv(asked) : { status: 200, body: show(asked) };
    }),
  ];
}

interface Range {
  from: Date;
  to: Date;
}

/** `to` is cut at now: a statement of the month under way closes with what there is. */
function rangeOf(
  { from: fromIn, to: toIn }: Pick<z.output<typeof rangeQuery>, 'from' | 'to'>,
  snapshot: Snapshot,
): Range {
  const zone = snapshot.rules.timezone;
  const from = fromIn === undefined ? new Date(currentCycle(snapshot).start) : instantOf(fromIn, zone);
  // What is shown as of this millisecond has happened, so the end lies behind it.
  const end = new Date(toMs(snapshot.now) + 1);
  const to = toIn === undefined ? end : instantOf(toIn, zone);
  if (from > end) throw invalidField('from', 'This instant lies in the future of the account.');
  if (to < from) throw invalidField('to', 'The range ends before it begins.');
  return { from, to: to < end ? to : end };
}

type Asked = Statement & Range & { account: string };

function show({ account, from, to, opening, lines, closing }: Asked): z.output<typeof statement> {
  return {
    account,
    from: shown(from),
    to: shown(to),
    opening: toCredits(opening.available),
    openingHeld: toCredits(opening.held),
    lines: lines.map(({ at, kind, creditsMilli, held, ...line }) => ({
      at: shown(at),
      kind,
      credits: toCredits(creditsMilli),
      held: toCredits(held),
      ...line,
      lots: line.lots.map(inCredits),
    })),
    closing: toCredits(closing.available),
    closingHeld: toCredits(closing.held),
  };
}

/** A line, or the balance that the lines begin or end with. */
type CsvRow = StatementLine | { at: Date; kind: 'opening' | 'closing'; balance: Statement['opening'] };

const columns: Columns<CsvRow> = {
  at: ({ at }) => shown(at),
  kind: ({ kind }) => kind,
  credits: (row) => ('balance' in row ? null : toCredits(row.creditsMilli)),
  held: (row) => ('balance' in row ? null : toCredits(row.held)),
  balance: (row) => ('balance' in row ? toCredits(row.balance.available) : null),
  balanceHeld: (row) => ('balance' in row ? toCredits(row.balance.held) : null),
  generation: (row) => ('balance' in row ? null : row.generation),
  hold: (row) => ('balance' in row ? null : row.hold),
  action: (row) => ('balance' in row ? null : row.action),
  model: (row) => ('balance' in row ? null : row.model),
  member: (row) => ('balance' in row ? null : row.member),
  lots: (row) => ('balance' in row ? null : lotsCell(row.lots)),
  key: (row) => ('balance' in row ? null : row.key),
  reason: (row) => ('balance' in row ? null : row.reason),
};

function asCsv({ account, from, to, opening, lines, closing }: Asked) {
  return csvAnswer<CsvRow>({
    filename: `statement-${account}-${shown(from).slice(0, 10)}-${shown(to).slice(0, 10)}`,
    columns,
    rows: [
      { at: from, kind: 'opening', balance: opening },
      ...lines,
      { at: to, kind: 'closing', balance: closing },
    ],
  });
}
