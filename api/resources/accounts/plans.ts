import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Ledger } from '../../../db/ledger/ledger';
import {
  type BalanceSnapshot,
  PLAN_INTERVALS,
  type PlanInterval,
  rfc3339,
  toMs,
} from '../../../domain/account';
import { type Catalog, freePlan, type Plan, planOf } from '../../../domain/catalog/catalog';
import { toCredits } from '../../../domain/credits';
import { type PlanChange, planChange, resume, type WantedPlan } from '../../../domain/time/planChange';
import { hasSubscription } from '../../../domain/time/settle';
import { invalidField, keyConflict, unknownAccount } from '../../problems/common';
import { offeredPlan } from './offeredPlan';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type KeyedRequest, type Route, route, type TextAnswer } from '../../routing/route';
import { accountId, creditsOut, instantOut } from '../../routing/schemas';
import { showAccount } from './accountBody';
import { account } from './schemas';

/** Which plan an account is on, and what becomes of it: upgrade, downgrade, cancel, resume (rules 18-20). */

export interface PlanRouteDeps {
  ledger: Ledger;
  catalogs: CatalogStore;
}

const planBody = z.strictObject({
  plan: z.string().min(1).max(64),
  interval: z.enum(PLAN_INTERVALS).optional().describe('By default the one there is, or `month`'),
  when: z
    .enum(['now', 'period_end'])
    .optional()
    .describe('By default `now` for more and `period_end` for less. Less at once leaves no plan credits'),
});

const preview = z
  .object({
    dueNow: z
      .number()
      .nullable()
      .describe(
        'By the catalog’s prices, in its currency; null: on request. An administrator’s change collects nothing',
      ),
    creditsNow: creditsOut.describe('Granted at once'),
    carried: creditsOut.describe('Existing credits that are kept until their own expiry'),
    effectiveAt: instantOut,
  })
  .meta({ id: 'PlanPreview' });

/** How often a change is worked out again because something it rests on moved under it. */
const ATTEMPTS = 10;

interface Known {
  snapshot: BalanceSnapshot;
  catalog: Catalog;
}

export function planRoutes(deps: PlanRouteDeps): Route[] {
  return [changePlan(deps), previewPlan(deps), cancelPlan(deps), resumePlan(deps)];
}

const common = {
  tag: 'Plans',
  account: accountFrom.param('id'),
  params: z.strictObject({ id: accountId }),
} as const;

/** What the three changes have in common. */
const changing = (deps: PlanRouteDeps) =>
  ({
    ...common,
    idempotency: 'optional',
    replay: (request: KeyedRequest) => replay(deps, request),
    responses: { 200: account },
  }) as const;

/** After a crash between the change and its answer: the account as it is now. */
async function replay(deps: PlanRouteDeps, { account: id }: KeyedRequest): Promise<TextAnswer> {
  return { status: 200, text: JSON.stringify(await showAccount(deps, id)), replayed: true };
}

/** What is due is settled first, so that the change rests on the slot and the period that run. */
async function known({ ledger, catalogs }: PlanRouteDeps, id: string): Promise<Known> {
  const snapshot = await ledger.balance(id);
  if (snapshot === null) throw unknownAccount(id);
  const { catalog } = await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now));
  return { snapshot, catalog };
}

async function change(
  deps: PlanRouteDeps,
  options: {
    id: string;
    key: string | null;
    hash: string;
    actor: string;
    workOut: (known: Known, source: string) => PlanChange | Promise<PlanChange>;
  },
) {
  const { ledger } = deps;
  const { id, key, hash, actor, workOut } = options;
  const name = key === null ? `sys:plan-change:${randomBytes(8).toString('hex')}` : `req:${key}`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const found = await known(deps, id);
    const { operation } = await workOut(found, `plan:upgrade:${name.slice(4)}`);
    if (operation === null) return { status: 200 as const, body: await showAccount(deps, id) };
    const { rulesVersion, settleVersion } = found.snapshot;
    const reply = await ledger.run(id, {
      op: 'rules',
      key: name,
      hash,
      actor,
      rulesVersion,
      settleVersion,
      ...operation,
    });
    if (reply === null) throw unknownAccount(id);
    if (reply.status === 'stale') continue;
    if (reply.status === 'idempotency_conflict') throw keyConflict();
    await ledger.settle(id, { touch: true });
    const { replayed } = reply;
    return { status: 200 as const, body: await showAccount(deps, id), replayed };
  }
  throw new ProblemError('unavailable', { detail: 'The account did not come to rest; try again.' });
}

function changePlan(deps: PlanRouteDeps): Route {
  const { catalogs } = deps;
  return route({
    ...changing(deps),
    method: 'POST',
    path: '/v1/accounts/{id}/plan',
    summary: 'Change the plan, without Stripe',
    description:
      'A higher plan, or a longer interval, begins at once: its cycle continues, the credits that are left stay, and what the ' +
      'plan gives more than the highest paid one of this slot is added. A lower one begins at the end of the period, with nothing ' +
      'carried. A first plan, or one after the last has ended, begins a cycle of its own. Who cancelled `now` and comes back while ' +
      'that cycle still runs continues with it: what it gave before is neither given nor charged again.',
    scope: 'admin',
    errors: ['unknown_account', 'unknown_plan'],
    body: planBody,
  }).handle(({ params, body, key, hash, caller }) =>
    change(deps, {
      id: params.id,
      key,
      hash,
      actor: caller.keyId,
      workOut: async (found, source) =>
        planChange({ ...found, wanted: await wantedOf(catalogs, found, body), source }),
    }),
  );
}

function previewPlan(deps: PlanRouteDeps): Route {
  const { catalogs } = deps;
  return route({
    ...common,
    method: 'POST',
    path: '/v1/accounts/{id}/plan/preview',
    summary: 'Preview a change of plan',
    scope: 'billing',
    idempotency: 'optional',
    errors: ['unknown_account', 'unknown_plan'],
    body: planBody,
    responses: { 200: preview },
  }).handle(async ({ params, body }) => {
    const found = await known(deps, params.id);
    const wanted = await wantedOf(catalogs, found, body);
    const worked = planChange({ ...found, wanted, source: 'plan:upgrade:preview' });
    return {
      status: 200,
      body: {
        dueNow: worked.dueNow,
        creditsNow: toCredits(worked.creditsNow),
        carried: toCredits(worked.carried),
        effectiveAt: rfc3339(worked.effectiveAt) ?? '',
      },
    };
  });
}

function cancelPlan(deps: PlanRouteDeps): Route {
  return route({
    ...changing(deps),
    method: 'POST',
    path: '/v1/accounts/{id}/cancel',
    summary: 'Cancel the subscription, at the end of the paid period or at once',
    description:
      'Until then everything stays as it is. Packs stay after it, and pay for what the free plan allows. At once, the plan’s ' +
      'credits end too.',
    scope: 'billing',
    errors: ['unknown_account', 'no_subscription'],
    body: z.strictObject({ when: z.enum(['period_end', 'now']) }),
  }).handle(({ params, body, key, hash, caller }) =>
    change(deps, {
      id: params.id,
      key,
      hash,
      actor: caller.keyId,
      workOut(found, source) {
        assertSubscribed(found);
        const wanted: WantedPlan = { plan: freePlan(found.catalog), interval: 'month', when: body.when };
        return planChange({ ...found, wanted, source });
      },
    }),
  );
}

function resumePlan(deps: PlanRouteDeps): Route {
  return route({
    ...changing(deps),
    method: 'POST',
    path: '/v1/accounts/{id}/resume',
    summary: 'Resume: withdraw a pending cancellation or change of plan',
    scope: 'billing',
    errors: ['unknown_account', 'no_subscription'],
  }).handle(({ params, key, hash, caller }) =>
    change(deps, {
      id: params.id,
      key,
      hash,
      actor: caller.keyId,
      workOut(found) {
        assertSubscribed(found);
        return resume(found.snapshot);
      },
    }),
  );
}

function assertSubscribed({ snapshot, catalog }: Known): void {
  if (hasSubscription(catalog, snapshot.rules)) return;
  throw new ProblemError('no_subscription', {
    detail: `Account ${snapshot.account} has no subscription; put it on a plan first.`,
  });
}

/** The plan that is asked for, if it is sold so. */
async function wantedOf(
  catalogs: CatalogStore,
  { snapshot, catalog }: Known,
  body: z.output<typeof planBody>,
): Promise<WantedPlan> {
  const plan = await offeredPlan(catalogs, { catalog, plan: body.plan, atMs: toMs(snapshot.now) });
  if (body.when === 'period_end' && plan.rank > 0 && !hasSubscription(catalog, snapshot.rules))
    throw invalidField('when', 'There is no period to wait for: the account has no subscription.');
  const { planInterval } = snapshot.rules;
  const current = planOf(catalog, snapshot.rules.plan);
  const interval = intervalOf(plan, body.interval, planInterval ?? 'month');
  if (
    hasSubscription(catalog, snapshot.rules) &&
    plan.rank > (current?.rank ?? 0) &&
    body.when !== 'period_end' &&
    PLAN_INTERVALS.indexOf(interval) < PLAN_INTERVALS.indexOf(planInterval ?? 'month')
  )
    throw invalidField(
      'interval',
      `What is paid by the ${planInterval} continues: a shorter one begins at its end (\`when\`: \`period_end\`).`,
    );
  return { plan, interval, when: body.when };
}

/** The one that is asked for; else the one that there was, or the first that the plan is sold by. */
function intervalOf(plan: Plan, asked: PlanInterval | undefined, was: PlanInterval): PlanInterval {
  const sold = soldBy(plan);
  const wanted = asked ?? was;
  if (sold.includes(wanted)) return wanted;
  const [other] = sold;
  if (asked === undefined && other !== undefined) return other;
  throw invalidField('interval', `Plan ${plan.plan} is sold by ${sold.join(', ')}.`);
}

/** What has its price on request, or none, may run by any interval. */
function soldBy(plan: Plan): readonly PlanInterval[] {
  if (plan.prices === null || plan.rank === 0) return PLAN_INTERVALS;
  const { prices } = plan;
  return PLAN_INTERVALS.filter((interval) => prices[interval] !== undefined);
}
