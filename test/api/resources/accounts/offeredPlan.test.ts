import { LIST_TTL_MS } from '../../../../db/catalogs/catalogs';
import { type Customers, startCustomers } from '../../customers';

/** Who is put on a plan has it for good: one that is going to leave its catalog is not given any more (rule 20). */

const LEAVES = '2031-01-01T00:00:00.000Z';

let customers: Customers;

beforeAll(async () => {
  customers = await startCustomers();
  const without = (...plans: string[]) =>
    customers.publish(
      'imagineart',
      (all) => ({ ...all, plans: all.plans.filter(({ plan }) => !plans.includes(plan)) }),
      LEAVES,
    );
  await without('creator', 'teams-scale');
  await without('creator'); // so the one before it never comes into force
  await new Promise((resolve) => setTimeout(resolve, LIST_TTL_MS + 100));
});
afterAll(() => customers.close());

const GONE = {
  code: 'unknown_plan',
  detail: `Plan creator leaves catalog imagineart at ${LEAVES}: nobody is put on it any more.`,
};

test.each(['plan', 'plan/preview'])('a change is refused (%s), also one that comes later', async (what) => {
  const ada = await customers.customer();
  await ada.post('plan', { plan: 'basic' });
  expect((await ada.post(what, { plan: 'creator' })).body).toMatchObject({ status: 422, ...GONE });
  const later = await ada.post(what, { plan: 'creator', when: 'period_end' });
  expect(later.body).toMatchObject({ status: 422, ...GONE });
  expect((await ada.post(what, { plan: 'teams-scale' })).status).toBe(200);
});

test('no account is opened on it, and on the others they are', async () => {
  const open = (plan?: string) =>
    customers.app.call('POST', '/v1/accounts', { body: { catalog: 'imagineart', plan } });
  expect((await open('creator')).body).toMatchObject({ status: 422, ...GONE });
  expect((await open('teams-scale')).status).toBe(201);
  expect((await open()).status).toBe(201);
});
