import { runAudit } from '../../../../db/audit';
import type { Reply } from '../../app';
import { startWhole, type Whole } from '../../whole';
import { defined } from '../../../../domain/defined';

/** Captured credits that are given back: of charges, of leases, of generations (rules 14, 22, 32). */

const T0 = '2026-03-01T10:00:00.000Z';
const NEXT_DAY = '2026-03-02T12:00:00.000Z';

let whole: Whole;
let account: string;
let counter = 0;
let keys = 0;

beforeAll(async () => {
  whole = await startWhole();
});
afterAll(() => whole.close());
beforeEach(async () => {
  counter += 1;
  account = `refunds-${counter}`;
  const rules = { catalog: 'working-day', plan: 'free', planSource: 'free' } as const;
  await whole.engine.ledger.open({ account, ...rules, clockAt: T0 });
});

const call = (method: string, at: string, body?: unknown, idempotencyKey = `key-${(keys += 1)}`) =>
  whole.app.call(method, at, {
    ...defined({ body }),
    ...(method === 'POST' ? { idempotencyKey } : {}),
  });
const post = (at: string, body: unknown, key?: string) => call('POST', at, body, key);
const get = async (at: string) => (await call('GET', `/v1/accounts/${account}/${at}`)).body;
const at = (instant: string) => whole.engine.ledger.moveClock(account, instant);
const idOf = (reply: Reply) => String(reply.body['id']);

async function charged(credits: number, more: Record<string, unknown> = {}): Promise<string> {
  const reply = await post('/v1/charges', { account, credits, ...more });
  expect(reply.status).toBe(201);
  return idOf(reply);
}
const refund = (id: string, body: Record<string, unknown> = {}, key?: string) =>
  post(`/v1/charges/${id}/refund`, { reason: 'it was not good', ...body }, key);

/** A generation that was captured whole. */
async function captured(credits: number): Promise<string> {
  const { id, holdId } = await whole.running(account, credits);
  await whole.engine.ledger.run(account, {
    op: 'capture',
    key: `sys:capture:${holdId}:final`,
    hash: 'all',
    holdId,
    final: true,
    cause: 'provider',
    generation: { status: 'succeeded', outputs: [] },
  });
  return id;
}

interface Lot {
  bucket: string;
  available: number;
  expiresAt: string | null;
}
async function lots(): Promise<Lot[]> {
  const { lots: found } = await get('balance?lots=true');
  return (found as Lot[]).filter(({ available }) => available > 0);
}

describe('of a charge', () => {
  test('gives back what is asked for, and answers the charge with the balance after it', async () => {
    const id = await charged(30);
    const part = await refund(id, { credits: 10 });
    expect([part.status, part.body]).toEqual([
      200,
      {
        id,
        account,
        credits: { held: 0, captured: 20, released: 0, forfeited: 0 },
        draws: [{ bucket: 'daily', credits: 30 }],
        expiresAt: null,
        balance: { available: 80, held: 0, debt: 0 },
      },
    ]);
    const rest = await refund(id);
    expect([rest.status, rest.body['credits'], rest.body['balance']]).toEqual([
      200,
      { held: 0, captured: 0, released: 0, forfeited: 0 },
      { available: 100, held: 0, debt: 0 },
    ]);
    expect((await call('GET', `/v1/holds/${id}`)).body).toEqual(rest.body);
    const more = await refund(id, { credits: 1 });
    expect([more.status, more.body['code']]).toEqual([409, 'refund_exceeds_captured']);
  });

  test('is answered with the same bytes under its key, whatever came after', async () => {
    const id = await charged(30);
    const first = await refund(id, { credits: 10 }, 'once');
    await refund(id, { credits: 5 });
    const again = await refund(id, { credits: 10 }, 'once');
    expect([again.status, again.text, again.headers.get('idempotent-replayed')]).toEqual([
      200,
      first.text,
      'true',
    ]);
    expect((await refund(id, { credits: 11 }, 'once')).body['code']).toBe('idempotency_conflict');
    expect((await call('GET', `/v1/holds/${id}`)).body['credits']).toMatchObject({ captured: 15 });
  });

  test('is followed by usage, statement, journal and the member’s limit', async () => {
    const subscriber = `${account}-team`;
    const rules = {
      catalog: 'working-day',
      plan: 'standard',
      planSource: 'admin',
      planInterval: 'month',
    } as const;
    await whole.engine.ledger.open({ account: subscriber, ...rules, clockAt: T0 });
    account = subscriber;
    for (const [member, limits] of [
      ['olga', { role: 'owner' }],
      ['ada', { role: 'member', monthlyLimit: 100 }],
    ] as const)
      expect((await call('PUT', `/v1/accounts/${account}/members/${member}`, limits)).status).toBe(200);
    const id = await charged(90, { member: 'ada', project: 'spring' });
    const over = await post('/v1/charges', { account, credits: 20, member: 'ada' });
    expect([over.status, over.body['code']]).toEqual([403, 'member_limit_reached']);
    expect((await refund(id, { credits: 80 })).status).toBe(200);
    await charged(20, { member: 'ada', project: 'autumn' });
    const usage = await call('GET', `/v1/usage?account=${account}&groupBy=project`);
    expect(usage.body['data']).toMatchObject([
      { key: 'autumn', credits: 20, generations: 1 },
      { key: 'spring', credits: 10, generations: 1 },
    ]);
    const { lines } = (await get('statement')) as { lines: { credits: number }[] };
    expect(lines.map(({ credits }) => credits)).toEqual([8000, -10, -20]);
    const { data } = (await get('journal?kind=refund')) as { data: Record<string, unknown>[] };
    expect(data).toMatchObject([{ kind: 'refund', credits: 80, reason: 'it was not good', actor: 'admin' }]);
  });

  test('lowers the usage of days that were added up before', async () => {
    const id = await charged(30);
    await at('2026-03-03T10:00:00.000Z');
    await charged(1);
    const days = `/v1/usage?account=${account}&groupBy=day&from=2026-03-01&to=2026-03-05`;
    const total = async () => ((await call('GET', days)).body['total'] as { credits: number }).credits;
    expect(await total()).toBe(31);
    expect((await refund(id, { credits: 12 })).status).toBe(200);
    expect(await total()).toBe(19);
  });
});

test('a lease that was captured in parts is refunded, also while it is open', async () => {
  const id = idOf(await post('/v1/holds', { account, credits: 50, ttlSeconds: 600 }));
  await post(`/v1/holds/${id}/capture`, { credits: 20, final: false });
  const open = await post(`/v1/holds/${id}/refund`, { credits: 5, reason: 'spoiled' });
  expect([open.status, open.body['credits'], open.body['balance']]).toEqual([
    200,
    { held: 30, captured: 15, released: 0, forfeited: 0 },
    { available: 55, held: 30, debt: 0 },
  ]);
  await post(`/v1/holds/${id}/capture`, {});
  const closed = await post(`/v1/holds/${id}/refund`, { reason: 'all of it' });
  expect(closed.body['balance']).toEqual({ available: 100, held: 0, debt: 0 });
});

test('what is not a hold, or a generation’s, is refused and says where to go', async () => {
  const unknown = await refund(`hold_${account}.nothing`);
  expect([unknown.status, unknown.body['code']]).toEqual([404, 'unknown_hold']);
  const { holdId } = await whole.running(account, 10);
  for (const route of ['holds', 'charges']) {
    const foreign = await post(`/v1/${route}/${holdId}/refund`, { reason: 'mine' });
    expect([foreign.status, foreign.body['code']]).toEqual([409, 'hold_has_workflow']);
    expect(foreign.body['detail']).toContain('/v1/generations/{id}/refund');
  }
});

test('a refund takes an administrator, a key and a reason', async () => {
  const id = await charged(3);
  const made = await post('/v1/api-keys', { name: 'shop', scopes: ['generate', 'billing'] });
  const key = String(made.body['secret']);
  const forbidden = await whole.app.call('POST', `/v1/charges/${id}/refund`, {
    key,
    idempotencyKey: 'mine',
    body: { reason: 'mine' },
  });
  expect([forbidden.status, forbidden.body['code']]).toEqual([403, 'scope_missing']);
  const keyless = await whole.app.call('POST', `/v1/charges/${id}/refund`, { body: { reason: 'mine' } });
  expect(keyless.body['code']).toBe('idempotency_key_required');
  expect((await post(`/v1/charges/${id}/refund`, {})).status).toBe(422);
});

describe('with an instant of its own', () => {
  const UNTIL = '2026-04-10T00:00:00.000Z';
  const kinds: [string, (credits: number) => Promise<string>, string][] = [
    ['a charge', charged, 'charges'],
    ['a generation', captured, 'generations'],
  ];

  test.each(kinds)('%s comes back until exactly then', async (_what, make, route) => {
    const id = await make(30);
    await at(NEXT_DAY); // the daily lot it was drawn from has ended
    const body = { reason: 'late, but well', expiresAt: UNTIL };
    expect((await post(`/v1/${route}/${id}/refund`, body, 'until')).status).toBe(200);
    expect(await lots()).toContainEqual(expect.objectContaining({ available: 30, expiresAt: UNTIL }));
    const rows = await whole.database.owner.pool.query<{ ends: string }>(
      `SELECT to_char(expires_at, 'YYYY-MM-DD"T"HH24:MI:SS.US') AS ends FROM ledger.lots WHERE account_id = $1 AND source = 'return'`,
      [account],
    );
    expect(rows.rows).toEqual([{ ends: '2026-04-10T00:00:00.000000' }]);
  });

  test.each(kinds)(
    '%s whose lot still lives is 422, moves nothing, and leaves the key free',
    async (_what, make, route) => {
      const id = await make(30);
      const before = await get('balance');
      const body = { reason: 'as a gift', expiresAt: UNTIL };
      const refused = await post(`/v1/${route}/${id}/refund`, body, 'lives');
      expect([refused.status, refused.body['errors']]).toEqual([
        422,
        [{ path: 'expiresAt', message: expect.stringContaining('leave expiresAt out') as string }],
      ]);
      expect(await get('balance')).toEqual(before);
      expect((await get('journal?kind=refund'))['data']).toEqual([]);
      expect((await post(`/v1/${route}/${id}/refund`, { reason: 'as it was' }, 'lives')).status).toBe(200);
    },
  );

  test('a refund that would go to a dead lot and a living one moves nothing; what was drawn last comes back first', async () => {
    await post(`/v1/accounts/${account}/adjustments`, {
      bucket: 'pack',
      credits: 50,
      reason: 'a gift',
      expiresAt: '2026-03-20T00:00:00.000Z',
    });
    const id = await charged(120); // 100 of the day, 20 of the gift
    await at(NEXT_DAY);
    const both = await refund(id, { credits: 30, expiresAt: UNTIL });
    expect(both.status).toBe(422);
    expect((await refund(id, { credits: 20 })).status).toBe(200);
    expect((await refund(id, { credits: 100, expiresAt: UNTIL })).status).toBe(200);
    expect(await lots()).toContainEqual(expect.objectContaining({ available: 100, expiresAt: UNTIL }));
  });

  test.each(kinds)('%s is not given back until an instant that has ended', async (_what, make, route) => {
    const id = await make(30);
    await at(NEXT_DAY);
    const body = { reason: 'too late', expiresAt: NEXT_DAY };
    const refused = await post(`/v1/${route}/${id}/refund`, body, 'past');
    expect([refused.status, refused.body['code']]).toEqual([422, 'invalid_request']);
    expect((await post(`/v1/${route}/${id}/refund`, { reason: 'then without' }, 'past')).status).toBe(200);
  });

  test.each(kinds)(
    'the refund of %s is told again under its key after that instant too',
    async (_what, make, route) => {
      const id = await make(30);
      await at(NEXT_DAY);
      const body = { reason: 'well', expiresAt: UNTIL };
      const first = await post(`/v1/${route}/${id}/refund`, body, 'told');
      await at('2026-05-01T00:00:00.000Z');
      const again = await post(`/v1/${route}/${id}/refund`, body, 'told');
      expect([again.status, again.text]).toEqual([200, first.text]);
    },
  );

  test('without one it is thirty days', async () => {
    const id = await charged(30);
    await at(NEXT_DAY);
    expect((await refund(id)).status).toBe(200);
    expect(await lots()).toContainEqual(
      expect.objectContaining({ available: 30, expiresAt: '2026-04-01T12:00:00.000Z' }),
    );
  });
});

test('the audit is clean after all this', async () => {
  const report = await runAudit(whole.database.db.pool);
  expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
