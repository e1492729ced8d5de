import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { searchAccounts } from '../../db/accounts';
import type { CatalogStore } from '../../db/catalogs';
import type { Database } from '../../db/connection';
import { findInInbox, type InboxRow, type PackPurchase, putIntoInbox } from '../../db/inbox';
import type { Ledger } from '../../db/ledger';
import type { RulesOperation } from '../../db/operations';
import { type BalanceSnapshot, type CalendarState, rfc3339, type Snapshot, toMs } from '../../domain/account';
import { balanceBody, currentCycle } from '../../domain/balance';
import { firstResetAfterZoneChange, isTimezone } from '../../domain/calendar';
import { bucketOf, freePlan, isPaid, packOf, planOf, returnGraceSeconds } from '../../domain/catalog';
import { milli, toCredits, toMilli } from '../../domain/credits';
import { purchaseId } from '../../domain/ids';
import { hasSubscription } from '../../domain/settle';
import { listFields, listOf, page } from '../pagination';
import { ProblemError } from '../problems';
import { accountFrom, type Route, route } from '../route';
import { accountId, creditsOut, instantIn, instantOut, reason } from '../schemas';
import { unknownAccount } from './generations';

export interface AccountRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
  /** Wakes the account's workflow. */
  ring: (account: string) => void;
}

const timezone = z.string().max(64).refine(isTimezone, 'This is not a time zone, such as Europe/London.');

const account = z
  .object({
    id: z.string(),
    catalog: z.string(),
    catalogVersion: z.number(),
    plan: z.string(),
    subscription: z.object({
      status: z.enum(['none', 'active', 'canceling', 'past_due', 'lapsed']),
      interval: z.enum(['month', 'quarter', 'year']).nullable(),
      paidUntil: instantOut.nullable(),
      pendingChange: z.object({ plan: z.string(), at: instantOut }).nullable(),
    }),
    suspended: z.boolean(),
    timezone: z.string(),
    cycle: z.object({ anchor: instantOut, start: instantOut, end: instantOut }),
    testClock: z.string().nullable(),
    now: instantOut,
    email: z.string().nullable(),
    stripeCustomer: z.string().nullable(),
    createdAt: instantOut,
  })
  .meta({ id: 'Account' });

const bucketBalance = z.object({
  bucket: z.string(),
  label: z.string(),
  available: creditsOut,
  held: creditsOut,
  granted: creditsOut.describe('What this period gave'),
  percentLeft: z.number().nullable(),
  expiresAt: instantOut.nullable(),
  nextRefresh: z.object({ at: instantOut, amount: creditsOut }).nullable(),
});

const balance = z
  .object({
    account: z.string(),
    asOf: instantOut,
    available: creditsOut,
    held: creditsOut,
    debt: creditsOut,
    buckets: z.array(bucketBalance).describe('In spend order'),
    expiringSoon: z.array(
      z.object({ bucket: z.string(), credits: creditsOut, expiresAt: instantOut.nullable() }),
    ),
    quotas: z.array(z.object({})),
    member: z.null(),
    canGenerate: z.boolean(),
    ways: z.array(z.string()),
    nextRefreshAt: instantOut.nullable(),
    lots: z
      .array(
        z.object({
          id: z.string(),
          bucket: z.string(),
          granted: creditsOut,
          available: creditsOut,
          held: creditsOut,
          effectiveAt: instantOut.nullable(),
          expiresAt: instantOut.nullable(),
          source: z.string(),
        }),
      )
      .optional(),
  })
  .meta({ id: 'Balance' });

const purchase = z
  .object({
    id: z.string(),
    pack: z.string(),
    quantity: z.number(),
    credits: creditsOut,
    status: z.enum(['paid', 'granted']),
  })
  .meta({ id: 'Purchase' });

/** How long a purchase's answer waits for the account's workflow to have granted it. */
const GRANTED_WITHIN_MS = 5_000;

export function accountRoutes(deps: AccountRouteDeps): Route[] {
  const { db, ledger, catalogs } = deps;
  const byId = z.strictObject({ id: accountId });

  return [
    route({
      method: 'POST',
      path: '/v1/accounts',
      summary: 'Open an account',
      description:
        'On the catalog’s free plan unless said otherwise. A paid plan set this way needs an admin key, is covered by the ' +
        'administrator until it is changed, grants its credits for the current cycle, and involves no Stripe.',
      tag: 'Accounts',
      scope: 'billing',
      account: accountFrom.body('id'),
      idempotency: 'optional',
      keptBy: 'api-key',
      errors: ['account_exists', 'unknown_catalog', 'unknown_plan'],
      body: z.strictObject({
        id: accountId.optional(),
        catalog: z.string().min(1).max(64),
        plan: z.string().min(1).max(64).optional(),
        timezone: timezone.optional(),
        anchor: instantIn.optional().describe('Cycles are counted from here; by default from now'),
        email: z.email().max(320).optional(),
      }),
      responses: { 201: account },
    }).handle(async ({ body, caller, key }) => {
      const known = (await catalogs.list(Date.now())).find(({ catalog }) => catalog.catalog === body.catalog);
      if (known === undefined)
        throw new ProblemError('unknown_catalog', { detail: `There is no catalog ${body.catalog}.` });
      const plan = body.plan === undefined ? freePlan(known.catalog) : planOf(known.catalog, body.plan);
      if (plan === undefined) {
        throw new ProblemError('unknown_plan', {
          detail: `Catalog ${body.catalog} has no plan ${body.plan}.`,
        });
      }
      if (isPaid(plan) && !caller.scopes.has('admin')) {
        throw new ProblemError('scope_missing', {
          detail: 'Only a key with scope `admin` may set a paid plan; others are bought at the checkout.',
          extensions: { requiredScope: 'admin' },
        });
      }
      const id = body.id ?? newAccountId({ keyId: caller.keyId, key });
      const opened = await ledger.open({
        account: id,
        catalog: body.catalog,
        plan: plan.plan,
        planSource: isPaid(plan) ? 'admin' : 'free',
        planInterval: isPaid(plan) ? 'month' : undefined,
        timezone: body.timezone,
        anchor: body.anchor?.toISOString(),
        email: body.email,
      });
      if (!opened && body.id !== undefined)
        throw new ProblemError('account_exists', { detail: `There is an account ${id} already.` });
      await ledger.settle(id, { touch: true });
      return { status: 201, body: await show(deps, id) };
    }),
    route({
      method: 'GET',
      path: '/v1/accounts',
      summary: 'Accounts; `q` finds an id, an email, a Stripe customer or a generation',
      tag: 'Accounts',
      scope: 'admin',
      account: 'all',
      errors: [],
      query: z.strictObject({
        ...listFields(z.object({ id: z.string() })),
        q: z.string().min(1).max(320).optional(),
      }),
      responses: { 200: listOf(account) },
    }).handle(async ({ query: { limit, cursor, q } }) => {
      const ids = await searchAccounts(db.knex, { text: q, after: cursor?.id, limit: limit + 1 });
      const rows = await Promise.all(ids.map((id) => show(deps, id)));
      return { status: 200, body: page({ rows, limit, place: ({ id }) => ({ id }), show: (row) => row }) };
    }),
    route({
      method: 'GET',
      path: '/v1/accounts/{id}',
      summary: 'One account',
      tag: 'Accounts',
      scope: 'read',
      account: accountFrom.param('id'),
      errors: ['unknown_account'],
      params: byId,
      responses: { 200: account },
    }).handle(async ({ params }) => ({ status: 200, body: await show(deps, params.id) })),
    route({
      method: 'PATCH',
      path: '/v1/accounts/{id}',
      summary: 'Change time zone or email',
      description:
        'A new zone takes effect at its first midnight at least 20 hours after the last daily reset.',
      tag: 'Accounts',
      scope: 'billing',
      account: accountFrom.param('id'),
      errors: ['unknown_account'],
      params: byId,
      body: z.strictObject({
        timezone: timezone.optional(),
        email: z.email().max(320).nullable().optional(),
      }),
      responses: { 200: account },
    }).handle(async ({ params, body, hash, caller }) => {
      const reply = await ledger.run(
        params.id,
        ({ snapshot }) =>
          ({
            op: 'rules',
            key: `sys:patch:${randomBytes(8).toString('hex')}`,
            hash,
            actor: caller.keyId,
            rules: {
              ...body,
              ...(body.timezone === undefined ? {} : { calendar: rezoned(snapshot, body.timezone) }),
            },
          }) satisfies RulesOperation,
      );
      if (reply === null) throw unknownAccount(params.id);
      return { status: 200, body: await show(deps, params.id) };
    }),
    route({
      method: 'GET',
      path: '/v1/accounts/{id}/balance',
      summary: 'What the account can spend, bucket by bucket',
      tag: 'Balance',
      scope: 'read',
      account: accountFrom.param('id'),
      errors: ['unknown_account'],
      params: byId,
      query: z.strictObject({ lots: z.enum(['true', 'false']).optional() }),
      responses: { 200: balance },
    }).handle(async ({ params, query }) => {
      const snapshot = await settled(deps, params.id);
      const { catalog } = await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now));
      return { status: 200, body: balanceBody({ snapshot, catalog, withLots: query.lots === 'true' }) };
    }),
    route({
      method: 'POST',
      path: '/v1/accounts/{id}/purchases',
      summary: 'Grant a pack of the catalog, as if it had been bought',
      description:
        'For administrators: no money moves. The purchase goes through the account’s mailbox like any other.',
      tag: 'Balance',
      scope: 'admin',
      account: accountFrom.param('id'),
      idempotency: 'required',
      errors: ['unknown_account', 'unknown_pack'],
      params: byId,
      body: z.strictObject({
        pack: z.string().min(1).max(64),
        quantity: z.int().min(1).max(1000).default(1),
        reason: reason.optional(),
      }),
      responses: { 201: purchase },
    }).handle(async ({ params, body, key, hash, caller }) => {
      const snapshot = await ledger.snapshot(params.id);
      if (snapshot === null) throw unknownAccount(params.id);
      const { catalog } = await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now));
      const pack = packOf(catalog, body.pack);
      const bucket = bucketOf(catalog, 'pack');
      if (pack === undefined || bucket === undefined) {
        throw new ProblemError('unknown_pack', {
          detail: `Catalog ${catalog.catalog} has no pack ${body.pack}.`,
        });
      }
      const id = purchaseId(params.id, key);
      const row = { account: params.id, key: id };
      const bought: PackPurchase = {
        purchase: id,
        pack: pack.pack,
        quantity: body.quantity,
        creditsMilli: toMilli(pack.credits),
        rank: bucket.rank,
        graceSeconds: returnGraceSeconds(bucket),
        actor: caller.keyId,
        reason: body.reason ?? null,
      };
      const fresh = await putIntoInbox(db.knex, {
        ...row,
        kind: 'pack_purchase',
        requestHash: hash,
        body: bought,
      });
      const kept = await findInInbox(db.knex, row);
      if (kept === undefined || kept.requestHash !== hash) throw keyConflict();
      // Rung also for a repetition: the first ring may be what went wrong.
      deps.ring(params.id);
      const done = await whenGranted(db, row);
      return { status: 201, body: showPurchase(done ?? kept), replayed: !fresh };
    }),
  ];
}

async function whenGranted(
  db: Database,
  row: { account: string; key: string },
): Promise<InboxRow | undefined> {
  const until = Date.now() + GRANTED_WITHIN_MS;
  for (;;) {
    const found = await findInInbox(db.knex, row);
    if (found?.doneAt != null || Date.now() >= until) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function showPurchase({ body, doneAt }: InboxRow): z.output<typeof purchase> {
  const { purchase: id, pack, quantity, creditsMilli } = body;
  const credits = toCredits(milli(creditsMilli * quantity));
  return { id, pack, quantity, credits, status: doneAt === null ? 'paid' : 'granted' };
}

/** An id for an account whose caller brings none; under one key it is one account, however often it is tried. */
function newAccountId({ keyId, key }: { keyId: string; key: string | null }): string {
  const name = key === null ? randomBytes(12) : createHash('sha256').update(`${keyId}\n${key}`).digest();
  return `acc_${name.toString('hex').slice(0, 24)}`;
}

async function settled({ ledger }: AccountRouteDeps, id: string): Promise<BalanceSnapshot> {
  const snapshot = await ledger.balance(id);
  if (snapshot === null) throw unknownAccount(id);
  return snapshot;
}

async function show({ ledger, catalogs }: AccountRouteDeps, id: string): Promise<z.output<typeof account>> {
  const snapshot = await ledger.snapshot(id);
  if (snapshot === null) throw unknownAccount(id);
  const { rules } = snapshot;
  const { catalog, version } = await catalogs.inForce(rules.catalog, toMs(snapshot.now));
  return {
    id,
    catalog: rules.catalog,
    catalogVersion: version,
    plan: rules.plan,
    subscription: {
      status: hasSubscription(catalog, rules) ? 'active' : 'none',
      interval: rules.planInterval,
      paidUntil: rfc3339(rules.paidUntil),
      pendingChange: null,
    },
    suspended: rules.suspended,
    timezone: rules.timezone,
    cycle: currentCycle(snapshot),
    testClock: null,
    now: new Date(toMs(snapshot.now)).toISOString(),
    email: rules.email,
    stripeCustomer: rules.stripeCustomer,
    createdAt: new Date(toMs(rules.createdAt)).toISOString(),
  };
}

/** When each daily bucket may be filled again after a change of zone (rule 21). */
function rezoned(snapshot: Snapshot, zone: string): CalendarState {
  const nowMs = toMs(snapshot.now);
  const daily = Object.entries(snapshot.calendar).filter(([, done]) => done.from !== undefined);
  return Object.fromEntries(
    daily.map(([bucket, done]) => {
      const lastResetMs = toMs(done.from ?? snapshot.rules.createdAt);
      const nextMs = firstResetAfterZoneChange({ lastResetMs, nowMs, zone });
      return [bucket, { ...done, nextAt: new Date(nextMs).toISOString() }];
    }),
  );
}

function keyConflict(): ProblemError {
  return new ProblemError('idempotency_conflict', {
    detail: 'This Idempotency-Key was used with another request.',
  });
}
