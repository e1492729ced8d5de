import { z } from 'zod';
import type { Database } from '../../../db/connection/connection';
import type { Ledger } from '../../../db/ledger/ledger';
import { readUsage, type UsageQuestion } from '../../../db/books/usage';
import type { Snapshot } from '../../../domain/account';
import { toCredits } from '../../../domain/credits';
import {
  DIMENSIONS,
  type Dimension,
  daysAtMost,
  daysOf,
  PERIODS,
  percentOf,
  periodRange,
  type UsageRange,
  type UsageRow,
  type UsageSums,
  withEveryDay,
  withinDay,
} from '../../../domain/books/usage';
import { invalidField, unknownAccount } from '../../problems/common';
import {
  assertRows,
  type Columns,
  csvAnswer,
  csvFields,
  MAX_ROWS,
  tooManyRows,
  wantsCsv,
} from '../../routing/csv';
import { accountFrom, type Route, route } from '../../routing/route';
import {
  accountId,
  creditsOut,
  dayIn,
  dayOrInstant,
  instantOf,
  instantOut,
  shown,
} from '../../routing/schemas';

/** What an account used and what for: the data of a usage chart. */

export interface UsageRouteDeps {
  db: Database;
  ledger: Ledger;
}

const MAX_VALUE = 256;

/** An empty value asks for what has none. */
const value = z
  .string()
  .max(MAX_VALUE)
  .transform((text) => (text === '' ? null : text))
  .optional();

const groupBy = z
  .string()
  .default('day')
  .describe(`One of ${DIMENSIONS.join(', ')}, or two with a comma between them`)
  .transform((text, context): Dimension[] => {
    const parsed = z.array(z.enum(DIMENSIONS)).min(1).max(2).safeParse(text.split(','));
    if (parsed.success && new Set(parsed.data).size === parsed.data.length) return parsed.data;
    const message = `Name one or two different ones of ${DIMENSIONS.join(', ')}.`;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });

const usageQuery = z.strictObject({
  account: accountId,
  groupBy,
  from: dayOrInstant
    .optional()
    .describe(
      'A day of the account’s calendar, or an instant. By default the beginning of the current cycle',
    ),
  to: dayOrInstant.optional().describe('The same, exclusive. By default the end of the current cycle'),
  period: z
    .enum(PERIODS)
    .optional()
    .describe(
      'Instead of `from` and `to`: the cycle or the one before it, today, or the last 7 or 30 days with today',
    ),
  action: value.describe('Only what this action used; empty: only what has none. So with every dimension'),
  model: value,
  member: value,
  feature: value,
  project: value,
  resolution: value,
  provider: value,
  bucket: value,
  day: dayIn.optional().describe('Only this day of the range'),
  ...csvFields,
});

type UsageQuery = z.output<typeof usageQuery>;

const key = z.string().nullable();
const sums = {
  credits: creditsOut.describe('Captured less refunded'),
  generations: z.number(),
  outputs: z.number(),
};

const usage = z
  .object({
    account: z.string(),
    from: instantOut,
    to: instantOut,
    groupBy: z.array(z.enum(DIMENSIONS)),
    data: z.array(
      z.object({
        key: z
          .union([key, z.tuple([key, key])])
          .describe('The value; of two dimensions an array of both; null where there is none'),
        ...sums,
        percent: z.number().describe('Share of the total’s credits; 0 where there are none'),
      }),
    ),
    total: z.object(sums),
  })
  .meta({ id: 'Usage' });

export function usageRoutes({ db, ledger }: UsageRouteDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/usage',
      load: 'report',
      summary: 'Usage of an account, by one or two dimensions',
      description:
        'Credits count when they are captured, and those refunded count negative when they are refunded. `generations` ' +
        'are generations, holds and charges: each counts once, when its first credits are captured (with `bucket`: in each ' +
        'bucket that these came from, and once in `total`); a free generation counts when it is made. `outputs` are those ' +
        'that they delivered; a hold or charge counts those that it was priced for. Rows come by credits; days in their ' +
        'order, each day of the range once, or once with each value of the other dimension. ' +
        `At most ${MAX_ROWS} rows.`,
      tag: 'Ledger',
      scope: 'read',
      account: accountFrom.query('account'),
      csv: true,
      errors: ['unknown_account', 'too_many_rows', 'history_archived'],
      query: usageQuery,
      responses: { 200: usage },
    }).handle(async ({ query, prefersCsv }) => {
      const snapshot = await ledger.snapshot(query.account);
      if (snapshot === null) throw unknownAccount(query.account);
      const asked = questionOf(query, snapshot);
      const { rows, total } = await readUsage(db.reports, asked);
      assertRows(rows);
      const dates = asked.days.map(({ date }) => date);
      const data = withEveryDay({ rows, groupBy: asked.groupBy, dates, limit: MAX_ROWS + 1 });
      assertRows(data);
      const answer = { ...asked, data, total };
      return wantsCsv({ query, prefersCsv }) ? asCsv(answer) : { status: 200, body: show(answer) };
    }),
  ];
}

function questionOf(query: UsageQuery, snapshot: Snapshot): UsageQuestion {
  const zone = snapshot.rules.timezone;
  const whole = rangeOf(query, snapshot);
  const range = query.day === undefined ? whole : withinDay({ range: whole, day: query.day, zone });
  const byDay = query.groupBy.includes('day');
  if (byDay && daysAtMost(range) > MAX_ROWS) throw tooManyRows();
  return {
    account: query.account,
    from: new Date(range.fromMs),
    to: new Date(range.toMs),
    zone,
    groupBy: query.groupBy,
    only: DIMENSIONS.flatMap((dimension) => {
      const wanted = dimension === 'day' ? undefined : query[dimension];
      return dimension === 'day' || wanted === undefined ? [] : [{ dimension, value: wanted }];
    }),
    days: byDay ? daysOf(range, zone) : [],
    limit: MAX_ROWS + 1,
  };
}

function rangeOf({ from, to, period }: UsageQuery, snapshot: Snapshot): UsageRange {
  if (period !== undefined && (from !== undefined || to !== undefined))
    throw invalidField('period', 'Say either a period, or from and to.');
  const range = periodRange({ period: period ?? 'cycle', snapshot });
  const zone = snapshot.rules.timezone;
  const fromMs = from === undefined ? range.fromMs : instantOf(from, zone).getTime();
  const toMs = to === undefined ? range.toMs : instantOf(to, zone).getTime();
  if (toMs < fromMs) throw invalidField('to', 'The range ends before it begins.');
  return { fromMs, toMs };
}

type Answer = Pick<UsageQuestion, 'account' | 'from' | 'to' | 'groupBy'> & {
  data: UsageRow[];
  total: UsageSums;
};

function show({ account, from, to, groupBy: dimensions, data, total }: Answer): z.output<typeof usage> {
  return {
    account,
    from: shown(from),
    to: shown(to),
    groupBy: [...dimensions],
    data: data.map((row) => {
      const [first = null, second = null] = row.keys;
      return {
        key: dimensions.length === 1 ? first : [first, second],
        ...showSums(row),
        percent: percentOf(row.creditsMilli, total.creditsMilli),
      };
    }),
    total: showSums(total),
  };
}

function showSums({ creditsMilli, generations, outputs }: UsageSums) {
  return { credits: toCredits(creditsMilli), generations, outputs };
}

function asCsv({ account, from, to, groupBy: dimensions, data, total }: Answer) {
  const columns: Columns<UsageRow> = {
    ...Object.fromEntries(
      dimensions.map((dimension, place) => [dimension, (row: UsageRow) => row.keys[place] ?? null]),
    ),
    credits: ({ creditsMilli }) => toCredits(creditsMilli),
    generations: ({ generations }) => generations,
    outputs: ({ outputs }) => outputs,
    percent: ({ creditsMilli }) => percentOf(creditsMilli, total.creditsMilli),
  };
  const filename = `usage-${account}-${shown(from).slice(0, 10)}-${shown(to).slice(0, 10)}`;
  return csvAnswer<UsageRow>({ filename, columns, rows: data });
}
