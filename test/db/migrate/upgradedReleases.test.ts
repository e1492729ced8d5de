import { readFileSync } from 'node:fs';
import path from 'node:path';
import { runAudit } from '../../../db/audit';
import { migrate } from '../../../db/migrate/migrate';
import { publishShippedCatalogs, readShippedCatalogs } from '../../../db/catalogs/shipped';
import { ADMIN_KEY } from '../../api/app';
import { startWholeOn, type Whole } from '../../api/whole';
import { connected, emptyDatabase, query } from '../../support/database';
import { ledgerOf } from '../../support/ledger/ledger';

/** Databases that the binaries of earlier releases filled (test/support/record/database.mjs), brought to this one. */

interface Recorded {
  /** When it was recorded. */
  at: string;
  asked: { method: string; path: string; body: unknown; key: string; status: number; text: string }[];
  balances: Record<string, { available: number; held: number; debt: number }>;
}

const FIXTURES = path.join(__dirname, '..', '..', 'support', 'fixtures');

describe.each(['first_release', 'before_numbers'])('the database of %s', (release) => {
  const recorded = JSON.parse(readFileSync(path.join(FIXTURES, `${release}.json`), 'utf8')) as Recorded;
  const sent = (key: string) => {
    const found = recorded.asked.find((one) => one.key === key);
    if (found === undefined) throw new Error(`nothing was asked under ${key}`);
    return found;
  };
  const idOf = (key: string) => String((JSON.parse(sent(key).text) as { id: unknown }).id);
  let whole: Whole;
  let url: string;

  beforeAll(async () => {
    const empty = await emptyDatabase();
    ({ url } = empty);
    await query(url, readFileSync(path.join(FIXTURES, `${release}.sql`), 'utf8'));
    // Time stands still for its accounts since then, so that what they have does not depend on today's date.
    await query(url, `UPDATE ledger.accounts SET clock_at = '${recorded.at}' WHERE clock_at IS NULL`);
    await migrate({ url });
    const database = connected({ url, drop: () => empty.close() });
    const catalogs = readShippedCatalogs(path.join(__dirname, '..', '..', '..', 'catalogs'));
    await publishShippedCatalogs(database.db.knex, { catalogs });
    whole = await startWholeOn(database);
  });
  afterAll(() => whole.close());

  const get = async (at: string) => (await whole.app.call('GET', at)).body;
  const violated = async () => {
    const { checks } = await runAudit(whole.database.owner.pool);
    return checks.filter(({ violations }) => violations > 0);
  };

  test('passes the whole audit', async () => {
    expect(await violated()).toEqual([]);
  });

  test('has every balance as the release told it', async () => {
    for (const [account, { available, held, debt }] of Object.entries(recorded.balances))
      expect([account, await get(`/v1/accounts/${account}/balance`)]).toMatchObject([
        account,
        { available, held, debt },
      ]);
  });

  test('answers every key again, byte for byte', async () => {
    expect(recorded.asked.length).toBeGreaterThan(10);
    for (const { method, path: at, body, key, status, text } of recorded.asked) {
      const again = await whole.app.call(method, at, { key: ADMIN_KEY, idempotencyKey: key, body });
      // The first releases kept no answers of purchases: sent again, it is told as it is now, which says more.
      const moreNow = key.startsWith('pack-') && release === 'first_release';
      const answer = moreNow ? fieldsOf(text, again.text) : again.text;
      expect([key, again.status, answer]).toEqual([key, status, text]);
      // Nor of reports: sent again, it is the same report, and answered again.
      const marked = key === 'report' && release === 'first_release' ? null : 'true';
      expect([key, again.headers.get('idempotent-replayed')]).toEqual([key, marked]);
    }
  });

  test('lets its API keys in', async () => {
    const { key } = JSON.parse(sent('api-key').text) as { key: string };
    expect((await whole.app.call('GET', '/v1/accounts/ada/balance', { key })).status).toBe(200);
  });

  test('captures and releases what was open, with the credits it had set aside', async () => {
    const ledger = ledgerOf(whole.database.db, whole.database.owner);
    const holdOf = (key: string) => idOf(key).replace('gen_', 'hold_');
    const [ada, ben] = [await ledger.totals('ada'), await ledger.totals('ben')];
    expect(await ledger.capture('ada', holdOf('gen-open'))).toMatchObject({ status: 'applied' });
    expect((await ledger.totals('ada')).held).toBe(ada.held - 48_000);
    expect(await ledger.release('ben', holdOf('gen-open-too'))).toMatchObject({ status: 'applied' });
    expect(await ledger.totals('ben')).toMatchObject({
      held: ben.held - 24_000,
      available: ben.available + 24_000,
    });
    expect(await violated()).toEqual([]);
  });

  if (release === 'before_numbers')
    test('releases the lease that was open, and ends the pipeline whose first phase was captured', async () => {
      const lease = idOf('lease-open');
      const { status, body } = await whole.app.call('POST', `/v1/holds/${lease}/release`, {
        idempotencyKey: 'now',
        body: {},
      });
      expect([status, body]).toMatchObject([200, { id: lease, credits: { held: 0 } }]);
      const ledger = ledgerOf(whole.database.db, whole.database.owner);
      const hold = idOf('gen-pipeline').replace('gen_', 'hold_');
      expect(await ledger.capture('dan', hold, { amount: 2_000, phase: 'cover' })).toMatchObject({
        status: 'applied',
      });
      expect((await ledger.totals('dan')).open_holds).toBe(0);
      expect(await violated()).toEqual([]);
    });

  test('continues: accounts are settled at their next boundary, and work is charged', async () => {
    const { ledger } = whole.engine;
    await ledger.moveClock('ada', '2027-02-01T00:00:00Z');
    await ledger.settle('ada', { touch: true });
    const { status } = await whole.app.call('POST', '/v1/charges', {
      idempotencyKey: 'new',
      body: { account: 'ada', credits: 1 },
    });
    expect(status).toBe(201);
    expect(await violated()).toEqual([]);
  });
});

/** The fields of a JSON object that another one has, in their order. */
function fieldsOf(first: string, now: string): string {
  const told = JSON.parse(now) as Record<string, unknown>;
  const names = Object.keys(JSON.parse(first) as object);
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, told[name]])));
}
