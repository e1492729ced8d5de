import { renderAnswer } from '../../../../api/resources/generations/keptAnswer';
import type { CatalogStore } from '../../../../db/catalogs/catalogs';

/** What a key was answered stays its answer, however the work it stands for is decided today. */

const NO_CATALOGS = {} as CatalogStore; // an accepted request's answer asks none

const generation = {
  id: 'gen_a.k',
  account: 'a',
  member: null,
  project: null,
  feature: null,
  parent: null,
  action: 'explore',
  model: 'relaxed',
  params: {},
  ordered: 1,
  metadata: null,
  deadlineAt: null,
  provider: { type: 'simulated' },
  workflowId: null,
  temporalUrl: null,
  catalogVersion: 1,
};
const stored = (amount: number, facts: object) =>
  JSON.stringify({
    status: 'applied',
    at: '2026-03-01T00:00:00.000001+00:00',
    amount,
    draws: [],
    facts: { v: 1, generation, ...facts },
  });
const statusOf = async (text: string) => {
  const { status, finishedAt } = JSON.parse((await renderAnswer(NO_CATALOGS, text)).text) as {
    status: string;
    finishedAt: string | null;
  };
  return [status, finishedAt];
};

test('an answer from before work that comes to nothing ran says still that it was done at once', async () => {
  expect(await statusOf(stored(0, {}))).toEqual(['succeeded', '2026-03-01T00:00:00.000Z']);
  expect(await statusOf(stored(5_000, {}))).toEqual(['running', null]);
});

test('an answer since then says of a free action that it is done, and of work that it runs, whatever it costs', async () => {
  expect(await statusOf(stored(0, { free: true }))).toEqual(['succeeded', '2026-03-01T00:00:00.000Z']);
  expect(await statusOf(stored(0, { free: false }))).toEqual(['running', null]);
  expect(await statusOf(stored(5_000, { free: false }))).toEqual(['running', null]);
});
