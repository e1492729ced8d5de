import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Database } from '../../../db/connection/connection';
import {
  clockProgress,
  findTestClock,
  insertTestClock,
  lockTestClock,
  setAdvancing,
  type TestClock,
} from '../../../db/accounts/testClocks';
import { TEST_CLOCK_ID } from '../../../domain/ids';
import { furthestAdvance, LAST_INSTANT_MS, MAX_ADVANCE_YEARS } from '../../../domain/time/testClock';
import { clockAdvancing, invalidField, NO_TEST_CLOCKS } from '../../problems/common';
import { ProblemError } from '../../problems/problem';
import { type Route, route } from '../../routing/route';
import { instantIn, instantOut, shown } from '../../routing/schemas';

/** Clocks that stand still until they are told to move, for whoever wants to see what a year does to an account. */

export interface TestClockRouteDeps {
  db: Database;
  /** Starts the clock's workflow, or has the one that runs look again. It does not fail: the sweep does it too. */
  startAdvance: (clock: string) => Promise<void>;
  /** HOLDFAST_MODE is live. */
  isLive?: boolean;
}

const id = z.string().regex(TEST_CLOCK_ID);

const testClock = z
  .object({
    id: z.string(),
    now: instantOut.describe('Where it stands; while it advances, where it began'),
    status: z.enum(['advancing', 'ready']),
    target: instantOut.describe('Where it advances to'),
    progress: z
      .object({
        accounts: z.number(),
        settled: z.number().describe('Those that have come to the target, with no boundary due'),
        failing: z
          .array(z.object({ account: z.string(), error: z.string() }))
          .describe('Those that could not be settled and are tried again; 20 at most are shown'),
      })
      .describe('Accounts on the clock'),
    createdAt: instantOut,
  })
  .meta({ id: 'TestClock' });

export function testClockRoutes(deps: TestClockRouteDeps): Route[] {
  return [makeTestClock(deps), getTestClock(deps), advanceTestClock(deps)];
}

const common = { tag: 'Test clocks', scope: 'admin', account: 'all' } as const;

const makeTestClock = ({ isLive }: TestClockRouteDeps): Route =>
  route({
    ...common,
    method: 'POST',
    path: '/v1/test-clocks',
    summary: 'Create a test clock',
    description: 'Open accounts on it with `testClock`. It moves by being told to, and never back.',
    idempotency: 'optional',
    keptBy: 'api-key',
    errors: [],
    body: z.strictObject({
      frozenAt: instantIn.refine(
        (at) => at.getTime() <= LAST_INSTANT_MS,
        `No clock goes beyond ${shown(new Date(LAST_INSTANT_MS))}.`,
      ),
    }),
    responses: { 201: testClock },
  }).handle(async ({ body, transaction }) => {
    refuseInLive(isLive);
    const clock = await insertTestClock(transaction, {
      id: `tc_${randomBytes(12).toString('hex')}`,
      frozenAt: body.frozenAt,
    });
    return { status: 201, body: show(clock, { accounts: 0, settled: 0 }) };
  });

function getTestClock({ db }: TestClockRouteDeps): Route {
  return route({
    ...common,
    method: 'GET',
    path: '/v1/test-clocks/{id}',
    load: 'report',
    summary: 'Get a test clock and the progress of its accounts',
    errors: [],
    params: z.strictObject({ id }),
    responses: { 200: testClock },
  }).handle(async ({ params }) => {
    const clock = await findTestClock(db.reports, params.id);
    if (clock === null) throw unknownClock(params.id);
    return { status: 200, body: show(clock, await clockProgress(db.reports, clock)) };
  });
}

function advanceTestClock({ startAdvance, isLive }: TestClockRouteDeps): Route {
  return route({
    ...common,
    method: 'POST',
    path: '/v1/test-clocks/{id}/advance',
    summary: 'Advance a test clock, settling its accounts at every boundary on the way',
    description:
      'Renewals, ends of credits and leases, notices and changes of plan happen in order, each at its own instant. ' +
      `\`status\` is \`ready\` when no account has a boundary due. At most ${MAX_ADVANCE_YEARS} years at a time.`,
    idempotency: 'optional',
    keptBy: 'api-key',
    errors: ['test_clock_advancing'],
    params: z.strictObject({ id }),
    body: z.strictObject({ to: instantIn }),
    responses: { 202: testClock },
  }).handle(async ({ params, body: { to }, transaction }) => {
    refuseInLive(isLive);
    const clock = await lockTestClock(transaction, { id: params.id, mode: 'update' });
    if (clock === null) throw unknownClock(params.id);
    checkTarget(clock, to);
    if (clock.status === 'ready') await setAdvancing(transaction, { id: clock.id, target: to });
    const advancing: TestClock = { ...clock, target: to, status: 'advancing' };
    return {
      status: 202,
      body: show(advancing, await clockProgress(transaction, advancing)),
      afterCommit: () => startAdvance(clock.id), // no connection, and no lock, waits for Temporal
    };
  });
}

function refuseInLive(isLive: boolean | undefined): void {
  if (isLive === true) throw new ProblemError('invalid_request', { detail: NO_TEST_CLOCKS });
}

function checkTarget(clock: TestClock, to: Date): void {
  const { now, target, status } = clock;
  if (to < now) throw invalidField('to', `A clock does not go back: it stands at ${shown(now)}.`);
  if (to.getTime() > furthestAdvance(now.getTime())) {
    const furthest = shown(new Date(furthestAdvance(now.getTime())));
    throw invalidField(
      'to',
      `One advance goes at most ${MAX_ADVANCE_YEARS} years from ${shown(now)}: to ${furthest}.`,
    );
  }
  if (status === 'advancing' && to.getTime() !== target.getTime()) throw clockAdvancing(clock);
}

function unknownClock(clock: string): ProblemError {
  return new ProblemError('not_found', { detail: `There is no test clock ${clock}.` });
}

function show(clock: TestClock, progress: { accounts: number; settled: number }): z.output<typeof testClock> {
  return {
    id: clock.id,
    now: shown(clock.now),
    status: clock.status,
    target: shown(clock.target),
    progress: { ...progress, failing: clock.failing },
    createdAt: shown(clock.createdAt),
  };
}
