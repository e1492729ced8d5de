import { createHash, randomBytes } from 'node:crypto';
import type { Knex } from 'knex';
import { z } from 'zod';
import { searchAccounts } from '../../../db/accounts/accounts';
import { readBalanceBefore } from '../../../db/books/pastBalance';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { readCounters } from '../../../db/accounts/counters';
import { databaseNowMs } from '../../../db/connection/databaseClock';
import type { Ledger } from '../../../db/ledger/ledger';
import type { RulesOperation } from '../../../db/ledger/operations';
import { lockTestClock, type TestClock } from '../../../db/accounts/testClocks';
import { type BalanceSnapshot, toMs } from '../../../domain/account';
import { balanceBody, pastBalanceBody } from './balanceBody';
import { freePlan, isPaid } from '../../../domain/catalog/catalog';
import { TEST_CLOCK_ID } from '../../../domain/ids';
import { limitsShown, roleOf } from '../../../domain/access/limits';
import { rezoned } from '../../../domain/time/zoneChange';
import { bookedAccount } from './bookedAccount';
import { showAccount } from './accountBody';
import { clockAdvancing, invalidField, NO_TEST_CLOCKS, unknownAccount } from '../../problems/common';
import { offeredPlan } from './offeredPlan';
import { listFields, listOf, page } from '../../routing/pagination';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type Route, route } from '../../routing/route';
import { accountId, callerName, email, instantIn } from '../../routing/schemas';
import { account, balance, timezone } from './schemas';

export interface AccountRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
  /** HOLDFAST_MODE is live. */
  isLive?: boolean;
}

export function accountRoutes(deps: AccountRouteDeps): Route[] {
  return [openAccount(deps), listAccounts(deps), getAccount(deps), editAccount(deps), getBalance(deps)];
}

const byId = z.strictObject({ id: accountId });

function openAccount(deps: AccountRouteDeps): Route {
  const { db, ledger, catalogs, isLive } = deps;
  return route({
    method: 'POST',
    path: '/v1/accounts',
    summary: 'Open an account',
    description:
      'On the catalog’s free plan unless said otherwise. A paid plan set this way needs an admin key, is covered by the ' +
      'administrator until it is changed, grants its credits for the current cycle, and involves no Stripe. With ' +
      '`testClock`, which takes an admin key, the account lives on that clock for good.',
    tag: 'Accounts',
    scope: 'billing',
    account: accountFrom.body('id'),
    idempotency: 'optional',
    keptBy: 'api-key',
    errors: ['account_exists', 'test_clock_advancing', 'unknown_catalog', 'unknown_plan'],
    body: z.strictObject({
      id: accountId.optional(),
      catalog: z.string().min(1).max(64),
      plan: z.string().min(1).max(64).optional(),
      timezone: timezone.optional(),
      anchor: instantIn.optional().describe('Cycles are counted from here; by default from now'),
      testClock: z.string().regex(TEST_CLOCK_ID, 'This is not the id of a test clock.').optional(),
      email: email.optional(),
    }),
    responses: { 201: account },
  }).handle(async ({ body, caller, key, hash, transaction }) => {
    if (body.testClock !== undefined && !caller.scopes.has('admin'))
      throw adminOnly('Only a key with scope `admin` may set a test clock.');
    if (body.testClock !== undefined && isLive === true) throw invalidField('testClock', NO_TEST_CLOCKS);
    const clock = body.testClock === undefined ? null : await standing(transaction, body.testClock);
    const nowMs = clock?.now.getTime() ?? (await databaseNowMs(db.points));
    const known = (await catalogs.list(nowMs)).find(({ catalog }) => catalog.catalog === body.catalog);
    if (known === undefined)
      throw new ProblemError('unknown_catalog', { detail: `There is no catalog ${body.catalog}.` });
    const plan = await offeredPlan(catalogs, {
      catalog: known.catalog,
      plan: body.plan ?? freePlan(known.catalog).plan,
      atMs: nowMs,
    });
    if (isPaid(plan) && !caller.scopes.has('admin'))
      throw adminOnly(
        'Only a key with scope `admin` may set a paid plan; others are bought at the checkout.',
      );
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
      clockAt: clock?.now.toISOString(),
      testClock: clock?.id,
      // After a crash between opening and answering, the request finds its own account.
      openedBy: key === null ? undefined : sha256(`${caller.keyId}\n${key}\n${hash}`),
    });
    if (!opened) throw new ProblemError('account_exists', { detail: `There is an account ${id} already.` });
    await ledger.settle(id, { touch: true });
    return { status: 201, body: await showAccount(deps, id) };
  });
}

function listAccounts(deps: AccountRouteDeps): Route {
  const { db } = deps;
  return route({
    method: 'GET',
    path: '/v1/accounts',
    load: 'report',
    summary: 'List accounts, or find one by id, email, Stripe customer, generation or purchase',
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
    const ids = await searchAccounts(db.reports, { text: q, after: cursor?.id, limit: limit + 1 });
    const rows = await Promise.all(ids.map((id) => showAccount(deps, id)));
    return { status: 200, body: page({ rows, limit, place: ({ id }) => ({ id }), show: (row) => row }) };
  });
}

function getAccount(deps: AccountRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/accounts/{id}',
    summary: 'Get an account',
    tag: 'Accounts',
    scope: 'read',
    account: accountFrom.param('id'),
    errors: ['unknown_account'],
    params: byId,
    responses: { 200: account },
  }).handle(async ({ params }) => ({ status: 200, body: await showAccount(deps, params.id) }));
}

function editAccount(deps: AccountRouteDeps): Route {
  const { ledger } = deps;
  return route({
    method: 'PATCH',
    path: '/v1/accounts/{id}',
    summary: 'Change the time zone or email of an account',
    description:
      'A new zone takes effect at its first midnight at least 20 hours after the last daily reset.',
    tag: 'Accounts',
    scope: 'billing',
    account: accountFrom.param('id'),
    errors: ['unknown_account'],
    params: byId,
    body: z.strictObject({
      timezone: timezone.optional(),
      email: email.nullable().optional(),
    }),
    responses: { 200: account },
  }).handle(async ({ params, body, hash, caller }) => {
    // What is due under the old zone is done first; the change is worked out from what that leaves.
    if ((await ledger.settle(params.id, { touch: true })) === null) throw unknownAccount(params.id);
    const reply = await ledger.run(
      params.id,
      ({ snapshot }) =>
        ({
          op: 'rules',
          key: `sys:patch:${randomBytes(8).toString('hex')}`,
          hash,
          actor: caller.keyId,
          rulesVersion: snapshot.rulesVersion,
          settleVersion: snapshot.settleVersion,
          rules: {
            ...body,
            ...(body.timezone === undefined || body.timezone === snapshot.rules.timezone
              ? {}
              : rezoned(snapshot, body.timezone)),
          },
        }) satisfies RulesOperation,
    );
    if (reply === null) throw unknownAccount(params.id);
    return { status: 200, body: await showAccount(deps, params.id) };
  });
}

function getBalance(deps: AccountRouteDeps): Route {
  const { db, catalogs } = deps;
  return route({
    method: 'GET',
    path: '/v1/accounts/{id}/balance',
    load: ({ query }) => query['at'] !== undefined,
    summary: 'Balance of an account, bucket by bucket',
    description:
      'With `at`, as it was at that instant, what ended then being over. What is not kept is then empty or null: ' +
      'quotas, member, `canGenerate`, `ways`, and when a bucket would have been filled next.',
    tag: 'Balance',
    scope: 'read',
    account: accountFrom.param('id'),
    errors: ['unknown_account', 'history_archived'],
    params: byId,
    query: z.strictObject({
      lots: z.enum(['true', 'false']).optional(),
      at: instantIn.optional().describe('A past instant'),
      member: callerName.optional().describe('What this member may still use this month'),
    }),
    responses: { 200: balance },
  }).handle(async ({ params, query }) => {
    const withLots = query.lots === 'true';
    if (query.at !== undefined) {
      return { status: 200, body: await pastBalance(deps, { id: params.id, at: query.at, withLots }) };
    }
    const snapshot = await settled(deps, params.id);
    const [{ catalog }, ...later] = await catalogs.inForceFrom(snapshot.rules.catalog, toMs(snapshot.now));
    const member = query.member ?? null;
    const limits = limitsShown({ snapshot, catalog, member });
    const used = await readCounters(db.knex, params.id, limits.counters);
    const role = roleOf(snapshot, member);
    return {
      status: 200,
      body: balanceBody({ snapshot, catalog, later, withLots, limits: limits.show(used), role }),
    };
  });
}

/** The clock, which stands still until the account is on it: an advance then finds it, and carries it along. */
async function standing(transaction: Knex.Transaction, id: string): Promise<TestClock> {
  const clock = await lockTestClock(transaction, { id, mode: 'share' });
  if (clock === null) throw invalidField('testClock', `There is no test clock ${id}.`);
  if (clock.status === 'advancing') throw clockAdvancing(clock);
  return clock;
}

function adminOnly(detail: string): ProblemError {
  return new ProblemError('scope_missing', { detail, extensions: { requiredScope: 'admin' } });
}

/** An id for an account whose caller brings none; under one key it is one account, however often it is tried. */
function newAccountId({ keyId, key }: { keyId: string; key: string | null }): string {
  const name = key === null ? randomBytes(12).toString('hex') : sha256(`${keyId}\n${key}`);
  return `acc_${name.slice(0, 24)}`;
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

async function settled({ ledger }: AccountRouteDeps, id: string): Promise<BalanceSnapshot> {
  const snapshot = await ledger.balance(id);
  if (snapshot === null) throw unknownAccount(id);
  return snapshot;
}

async function pastBalance(
  deps: AccountRouteDeps,
  { id, at, withLots }: { id: string; at: Date; withLots: boolean },
) {
  const { rules, now } = await bookedAccount(deps, id);
  if (at.getTime() > toMs(now)) throw invalidField('at', 'This instant lies in the future of the account.');
  const { catalog } = await deps.catalogs.inForce(rules.catalog, at.getTime());
  // Shown instants end in milliseconds, so what happened within this one has happened by it.
  const before = new Date(at.getTime() + 1);
  const past = await readBalanceBefore(deps.db.reports, { account: id, before });
  return pastBalanceBody({ account: id, atMs: at.getTime(), past, catalog, withLots });
}
