import { generationId, holdIdOf } from '../../../../domain/ids';
import { milli } from '../../../../domain/credits';
import { reservation } from '../../../support/ledger/ledger';
import { ADMIN_KEY } from '../../app';
import { startWhole, type Whole } from '../../whole';

/** Rule 16. A pipeline that holds its ceiling of 100 credits, and costs 40 if all goes as planned. */

const ACCOUNT = 'late';
let whole: Whole;

beforeAll(async () => {
  whole = await startWhole();
  await post('/v1/accounts', { id: ACCOUNT, catalog: 'working-day', plan: 'standard' }, 'opened');
});
afterAll(() => whole.close());

const post = (at: string, body: unknown, idempotencyKey: string) =>
  whole.app.call('POST', at, { key: ADMIN_KEY, idempotencyKey, body });

async function begun(name: string): Promise<string> {
  const { ledger } = whole.engine;
  await ledger.balance(ACCOUNT);
  const id = generationId(ACCOUNT, name);
  const order = reservation(ACCOUNT, { amount: 100_000, holdId: holdIdOf(id) });
  await ledger.run(ACCOUNT, ({ snapshot }) => ({
    ...order,
    key: `req:${name}`,
    facts: { ...order.facts, planned: milli(40_000) },
    rulesVersion: snapshot.rulesVersion,
    generation: { ...order.generation, id, provider: { type: 'external', deadlineSeconds: 60 } },
  }));
  return id;
}

test('late work is charged for what it would have cost in time, and not for the ceiling that was held', async () => {
  const timely = await begun('timely');
  const done = await post(`/v1/generations/${timely}/complete`, { outputs: [{}] }, 'timely-1');
  expect(done.body).toMatchObject({ credits: { captured: 40, refunded: 60 } });

  const late = await begun('late');
  await post(`/v1/generations/${late}/fail`, { code: 'oom', message: '' }, 'late-1');
  expect((await post(`/v1/generations/${late}/complete`, { outputs: [{}] }, 'late-2')).status).toBe(409);
  const { body } = await whole.app.call('GET', `/v1/generations/${late}`);
  const [report] = body['lateReports'] as { reportId: string }[];
  const at = `/v1/generations/${late}/late-reports/${report?.reportId}/apply`;
  const applied = await post(at, { reason: 'it came after all' }, 'late-3');
  expect([applied.status, applied.body]).toMatchObject([
    200,
    { lateReports: [{ applied: { credits: 40 } }] },
  ]);
});

test('a late report that the work failed is nothing to charge for, and leaves the others as they are', async () => {
  const id = await begun('failed');
  await post(`/v1/generations/${id}/complete`, { outputs: [] }, 'failed-1');
  expect((await post(`/v1/generations/${id}/fail`, { code: 'oom', message: '' }, 'failed-2')).status).toBe(
    409,
  );
  const { body } = await whole.app.call('GET', `/v1/generations/${id}`);
  const [report] = body['lateReports'] as { reportId: string }[];
  const at = `/v1/generations/${id}/late-reports/${report?.reportId}/apply`;
  const refused = await post(at, { credits: 5, reason: 'x' }, 'failed-3');
  expect([refused.status, refused.body['code']]).toEqual([422, 'invalid_request']);
});
