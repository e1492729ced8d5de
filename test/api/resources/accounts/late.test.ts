import { LIST_TTL_MS } from '../../../../db/catalogs/catalogs';
import { type Catalog, planOf } from '../../../../domain/catalog/catalog';
import { milli } from '../../../../domain/credits';
import { type Customers, startCustomers, T0 } from '../../customers';

/** How late something is settled, or whether it was before it is looked at, changes nothing anybody sees. */

let customers: Customers;

beforeAll(async () => {
  customers = await startCustomers();
});
afterAll(() => customers.close());

describe('a catalog that changes after a boundary, and before that is settled', () => {
  const FIVE_PAST = '2026-04-10T10:05:00.000Z';
  const TEN_PAST = '2026-04-10T10:10:00.000Z';
  const NEXT = '2026-05-10T10:00:00.000Z';

  const giving = (credits: number) => (catalog: Catalog) => {
    const changed = structuredClone(catalog);
    for (const plan of ['basic', 'standard']) {
      const allotments = planOf(changed, plan)?.allotments;
      if (allotments !== undefined) allotments['plan'] = credits;
    }
    return changed;
  };

  beforeAll(async () => {
    await customers.publish('imagineart', giving(1000), FIVE_PAST);
    await new Promise((resolve) => setTimeout(resolve, LIST_TTL_MS + 100));
  });

  test('gives its own allotment from the next slot on (rule 20)', async () => {
    const late = await customers.customer();
    await late.post('plan', { plan: 'basic' });
    await late.wake(TEN_PAST);
    expect(await late.buckets()).toEqual({ plan: 3000 });
    await late.at(NEXT);
    expect(await late.buckets()).toEqual({ plan: 1000 });
  });

  test('also where the account is used before its timer fires', async () => {
    const used = await customers.customer();
    await used.post('plan', { plan: 'basic' });
    await used.at(TEN_PAST);
    expect(await used.charge(1500)).toBe(201);
    expect(await used.buckets()).toEqual({ plan: 1500 });
  });

  test('also where its rules changed before the boundary, and nobody came since', async () => {
    const suspended = await customers.customer();
    await suspended.post('plan', { plan: 'basic' });
    for (const is of [true, false])
      await customers.engine.ledger.run(suspended.id, {
        op: 'rules',
        key: `sys:suspended:${is}`,
        hash: 'is',
        rules: { suspended: is },
      });
    await suspended.wake(TEN_PAST);
    expect(await suspended.buckets()).toEqual({ plan: 3000 });
  });

  test('also for who asks about the past before it is settled', async () => {
    const asked = await customers.customer();
    await asked.post('plan', { plan: 'basic' });
    await asked.at(TEN_PAST);
    const at = '2026-04-10T10:00:00.000Z';
    const past = await customers.app.call('GET', `/v1/accounts/${asked.id}/balance?at=${at}`);
    expect(past.body).toMatchObject({ available: 3000 });
  });

  test('and where months were missed, each goes by its own, at its own boundary, whatever ended later', async () => {
    const asleep = await customers.customer();
    await asleep.post('plan', { plan: 'basic' });
    const promo = { bucket: 'pack', rank: 9, graceSeconds: null, source: 'promo', amount: milli(7_000) };
    await customers.engine.ledger.run(asleep.id, {
      op: 'grant',
      key: 'sys:promo',
      hash: 'promo',
      expiresAt: '2026-06-15T00:00:00.000Z',
      ...promo,
    });
    await asleep.wake('2026-06-20T00:00:00.000Z');
    const granted = await asleep.events('credits.granted');
    expect(granted.map(({ at, credits }) => [String(at).slice(0, 10), credits])).toEqual([
      ['2026-06-10', 1000],
      ['2026-05-10', 1000],
      ['2026-04-10', 3000],
      ['2026-03-10', 7],
      ['2026-03-10', 3000],
      ['2026-03-10', 100],
    ]);
    const [ended] = await asleep.events('credits.expired');
    expect(ended).toMatchObject({ at: '2026-06-15T00:00:00.000Z', credits: 7 });
  });

  test('and where the plan changed at that boundary, its first month goes by the old one', async () => {
    const lower = await customers.customer();
    await lower.post('plan', { plan: 'standard' });
    await lower.post('plan', { plan: 'basic' }); // at the end of the period
    await lower.wake(TEN_PAST);
    expect(await lower.buckets()).toEqual({ plan: 3000 });
  });
});

test('a plan that begins under a new version is given by it, whatever the account was on before', async () => {
  const giving = (basic: number, pro: number) => (catalog: Catalog) => {
    const changed = { ...structuredClone(catalog), assertions: [] };
    for (const [plan, credits] of Object.entries({ basic, pro })) {
      const allotments = planOf(changed, plan)?.allotments;
      if (allotments !== undefined) allotments['plan'] = credits;
    }
    return changed;
  };
  await customers.publish('draftly', giving(0, 6000), '2026-03-01T00:00:00.000Z');
  await customers.publish('draftly', giving(0, 1000), '2026-04-20T00:00:00.000Z');
  await new Promise((resolve) => setTimeout(resolve, LIST_TTL_MS + 100));
  const dan = await customers.customer('draftly');
  await dan.post('plan', { plan: 'pro' });
  await dan.post('plan', { plan: 'basic' }); // from 10 April on, and gives nothing
  await dan.at('2026-04-25T00:00:00.000Z');
  expect(await dan.buckets()).toEqual({});
  expect((await dan.post('plan', { plan: 'pro' })).body).toMatchObject({ plan: 'pro' });
  expect(await dan.buckets()).toEqual({ plan: 1000 });
});

test('an account whose plan has ended says so, before anybody came to write it down', async () => {
  const ada = await customers.customer();
  await ada.post('plan', { plan: 'ultimate' });
  await ada.post('cancel', { when: 'period_end' });
  await ada.at('2026-04-10T10:01:00.000Z');
  expect(await ada.account()).toMatchObject({
    plan: 'free',
    subscription: { status: 'lapsed', pendingChange: null },
  });
});

test('a limit of credits a day does not begin again with a change of zone', async () => {
  const ada = await customers.customer();
  await ada.post('plan', { plan: 'standard' });
  await customers.engine.ledger.run(ada.id, {
    op: 'rules',
    key: 'sys:limit',
    hash: 'limit',
    rules: { creditsPerDay: 100_000 },
  });
  expect(await ada.charge(100)).toBe(201);
  const move = (timezone: string) =>
    customers.app.call('PATCH', `/v1/accounts/${ada.id}`, { body: { timezone } });
  for (const zone of ['Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Asia/Tokyo']) {
    expect((await move(zone)).status).toBe(200);
    expect(await ada.charge(1)).toBe(403);
  }
  // The day began at T0's midnight; Tokyo's first midnight twenty hours later is the next day's, at 15:00 UTC.
  await ada.at('2026-03-11T14:59:59.000Z');
  expect(await ada.charge(1)).toBe(403);
  await ada.at('2026-03-11T15:00:00.000Z');
  expect(await ada.charge(100)).toBe(201);
});

test('an interval that is left out is none that would end what is paid', async () => {
  await customers.publish(
    'imagineart',
    (catalog) => {
      const changed = structuredClone(catalog);
      const ultimate = planOf(changed, 'ultimate');
      if (ultimate !== undefined) ultimate.prices = { month: 40 };
      return changed;
    },
    '2026-03-01T00:00:00.000Z',
  );
  await new Promise((resolve) => setTimeout(resolve, LIST_TTL_MS + 100));
  const ada = await customers.customer();
  await ada.post('plan', { plan: 'basic', interval: 'year' });
  for (const body of [{ plan: 'ultimate' }, { plan: 'ultimate', interval: 'month' }]) {
    const { status, body: problem } = await ada.post('plan', body);
    expect([status, problem]).toMatchObject([422, { errors: [{ path: 'interval' }] }]);
  }
  const { status } = await ada.post('plan', { plan: 'ultimate', when: 'period_end' });
  expect(status).toBe(200);
  expect((await ada.account())['subscription']).toMatchObject({
    interval: 'year',
    pendingChange: { plan: 'ultimate', at: `2027${T0.slice(4)}` },
  });
});
