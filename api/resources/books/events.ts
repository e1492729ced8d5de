import { z } from 'zod';
import type { Database } from '../../../db/connection/connection';
import { type AccountEvent, EVENT_TYPES, readEvents } from '../../../db/books/events';
import type { Ledger } from '../../../db/ledger/ledger';
import { PLAN_INTERVALS } from '../../../domain/account';
import { milli, toCredits } from '../../../domain/credits';
import { unknownAccount } from '../../problems/common';
import { listFields, listOf, page } from '../../routing/pagination';
import { accountFrom, type Route, route } from '../../routing/route';
import { accountId, creditsOut, instantOut, rangeFields, rangeOf, shown } from '../../routing/schemas';

/** What happened to an account that somebody may want to be told of. */

export interface EventRouteDeps {
  db: Database;
  ledger: Ledger;
}

const event = z
  .object({
    seq: z.number().describe('The journal row it came with'),
    type: z.enum(EVENT_TYPES),
    at: instantOut,
    recordedAt: instantOut,
    credits: creditsOut
      .nullable()
      .describe('What it is about; of a balance, what is left; null of a subscription'),
    expiresAt: instantOut.nullable().describe('End of the credits that are about to expire'),
    lots: z
      .array(z.object({ lot: z.string(), credits: creditsOut }))
      .describe('That came, ended or were taken'),
    plan: z
      .object({
        before: z.string(),
        after: z.string(),
        interval: z
          .enum(PLAN_INTERVALS)
          .nullable()
          .describe('Billing period of the new plan; null where nothing is paid for'),
        pending: z
          .object({ plan: z.string(), interval: z.enum(PLAN_INTERVALS).nullable(), at: instantOut })
          .nullable(),
      })
      .nullable()
      .describe('Only for subscription events'),
  })
  .meta({ id: 'AccountEvent' });

/** What the database keeps beside an event, by its type. */
const detail = z.object({
  expiresAt: z.string().optional(),
  lots: z.array(z.object({ lot: z.number(), milli: z.number() })).default([]),
  before: z.string().optional(),
  after: z.string().optional(),
  interval: z.enum(PLAN_INTERVALS).optional(),
  pending: z
    .object({ plan: z.string(), interval: z.enum(PLAN_INTERVALS).nullish(), at: z.string() })
    .optional(),
});

export function eventRoutes({ db, ledger }: EventRouteDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/accounts/{id}/events',
      load: 'report',
      summary: 'List events of an account, newest first',
      description:
        'Credits that came, are about to end, ended or were taken back; a balance that became low or empty; changes of the plan. ' +
        'A balance is told of once on its way down, and again only after credits were granted.',
      tag: 'Ledger',
      scope: 'read',
      account: accountFrom.param('id'),
      errors: ['unknown_account'],
      params: z.strictObject({ id: accountId }),
      query: z.strictObject({
        ...listFields(z.object({ seq: z.int().positive(), type: z.string().max(64) })),
        type: z.enum(EVENT_TYPES).optional(),
        ...rangeFields,
      }),
      responses: { 200: listOf(event) },
    }).handle(async ({ params, query: { limit, cursor, type, ...range } }) => {
      const snapshot = await ledger.snapshot(params.id);
      if (snapshot === null) throw unknownAccount(params.id);
      const rows = await readEvents(db.reports, {
        account: params.id,
        type,
        before: cursor,
        limit: limit + 1,
        ...rangeOf(range, snapshot.rules.timezone),
      });
      const place = (row: AccountEvent) => ({ seq: row.seq, type: row.type });
      return { status: 200, body: page({ rows, limit, place, show }) };
    }),
  ];
}

function show({
  seq,
  type,
  at,
  recordedAt,
  creditsMilli,
  detail: kept,
}: AccountEvent): z.output<typeof event> {
  const { expiresAt, lots, before, after, interval = null, pending } = detail.parse(kept);
  return {
    seq,
    type,
    at: shown(at),
    recordedAt: shown(recordedAt),
    credits: creditsMilli === null ? null : toCredits(creditsMilli),
    expiresAt: expiresAt === undefined ? null : shown(new Date(expiresAt)),
    lots: lots.map((lot) => ({ lot: String(lot.lot), credits: toCredits(milli(lot.milli)) })),
    plan:
      before === undefined || after === undefined
        ? null
        : {
            before,
            after,
            interval,
            pending:
              pending === undefined
                ? null
                : {
                    plan: pending.plan,
                    interval: pending.interval ?? null,
                    at: shown(new Date(pending.at)),
                  },
          },
  };
}
