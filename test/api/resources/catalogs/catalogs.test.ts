import path from 'node:path';
import { LIST_TTL_MS, publishCatalog, readCatalog } from '../../../../db/catalogs/catalogs';
import { createEngine, type Engine } from '../../../../db/engine';
import { catalogRoutes } from '../../../../api/resources/catalogs/catalogs';
import { createQuoting, quoteRoutes } from '../../../../api/resources/generations/quotes';
import { type TestDatabase, testDatabase } from '../../../support/database';
import { type Reply, startApp, type TestApp } from '../../app';

/** New versions of a catalog over HTTP. */

const ROOT = path.join(__dirname, '../../../..');

let database: TestDatabase;
let engine: Engine;
let app: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  for (const file of [
    'catalogs/draftly.json',
    'catalogs/imagineart.json',
    'test/support/catalogs/tunesmith.json',
  ])
    await publishCatalog(database.db.knex, { catalog: readCatalog(path.join(ROOT, file)) });
  engine = createEngine({
    database: database.db,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  const deps = { ...engine, db: database.db };
  const routes = [...catalogRoutes(deps), ...quoteRoutes({ quoting: createQuoting(deps) })];
  app = await startApp({ db: database.db, routes });
  await engine.ledger.open({ account: 'fan', catalog: 'tunesmith', plan: 'listener', planSource: 'free' });
});
afterAll(async () => {
  await app.close();
  await database.close();
});

const post = (at: string, body: unknown): Promise<Reply> => app.call('POST', at, { body });
const quote = (account: string, action: string) => post('/v1/quotes', { account, action });

describe('POST /v1/catalogs', () => {
  const file = () => structuredClone(readCatalog(path.join(ROOT, 'test/support/catalogs/tunesmith.json')));
  const repriced = (credits: number) => {
    const catalog = file();
    const rate = catalog.actions[0]?.models[0]?.rates[0];
    if (rate !== undefined) rate.credits = credits;
    return catalog;
  };
  const song = async () => (await quote('fan', 'song')).body;

  test('with dryRun answers what would change, and changes nothing', async () => {
    const { status, body } = await post('/v1/catalogs', { ...repriced(0.2), dryRun: true });
    expect([status, body]).toEqual([
      200,
      {
        catalog: 'tunesmith',
        version: 2,
        effectiveAt: null,
        dryRun: true,
        supersedes: [],
        changed: true,
        changes: [
          { path: 'actions.song.models.fiddle.rates.{"voice":false}.credits', before: 0.125, after: 0.2 },
        ],
      },
    ]);
    expect(await song()).toMatchObject({ catalogVersion: 1, credits: 3.75 });
  });

  test('prices the account’s next unquoted request, as soon as it has answered', async () => {
    expect(await song()).toMatchObject({ catalogVersion: 1, credits: 3.75 });
    const { status, body } = await post('/v1/catalogs', repriced(0.2));
    expect([status, body['version'], body['changed']]).toEqual([201, 2, true]);
    expect(await song()).toMatchObject({ catalogVersion: 2, credits: 6 });
  });

  test('that says the same again makes no version', async () => {
    await post('/v1/catalogs', repriced(0.3));
    const again = await post('/v1/catalogs', repriced(0.3));
    expect([again.status, again.body['changed'], again.body['changes']]).toEqual([200, false, []]);
    const twice = await Promise.all([1, 2].map(() => post('/v1/catalogs', repriced(0.35))));
    const told = new Map(twice.map(({ status, body }) => [status, body['changes']]));
    expect([told.get(200), told.get(201)]).toEqual([[], [expect.objectContaining({ after: 0.35 })]]);
  });

  test('with effectiveAt applies from then on, on the account’s own clock', async () => {
    const { body } = await post('/v1/catalogs', { ...repriced(0.4), effectiveAt: '2031-01-01T00:00:00Z' });
    expect(body).toMatchObject({ changed: true, effectiveAt: '2031-01-01T00:00:00.000Z' });
    expect((await song())['credits']).not.toBe(12);
    const clock = {
      account: 'later',
      catalog: 'tunesmith',
      plan: 'listener',
      planSource: 'free',
      clockAt: '2031-01-01T00:00:00Z',
    } as const;
    await engine.ledger.open(clock);
    expect((await quote('later', 'song')).body).toMatchObject({
      credits: 12,
      catalogVersion: body['version'],
    });
  });

  test('says what is scheduled, and what a newer version that begins before it supersedes', async () => {
    const product = (note: string) => ({ ...file(), catalog: 'scheduled', label: note });
    await post('/v1/catalogs', product('one'));
    const effectiveAt = '2031-01-01T00:00:00.000Z';
    const later = await post('/v1/catalogs', { ...product('two'), effectiveAt });
    expect([later.status, later.body['supersedes']]).toEqual([201, []]);
    const shown = async () => (await app.call('GET', '/v1/catalogs/scheduled')).body;
    expect(await shown()).toMatchObject({ version: 1, scheduled: [{ version: 2, effectiveAt }] });
    const fixed = { ...product('three'), dryRun: true };
    for (const dryRun of [true, false])
      expect((await post('/v1/catalogs', { ...fixed, dryRun })).body).toMatchObject({
        changes: [{ path: 'label', before: 'one', after: 'three' }], // and not the one that is scheduled
        supersedes: [{ version: 2, effectiveAt }],
      });
    expect(await shown()).toMatchObject({ version: 3, scheduled: [] });
    const all = await app.call('GET', '/v1/catalogs?limit=1');
    expect(all.body).toMatchObject({ data: [{ catalog: 'draftly' }], nextCursor: expect.any(String) });
    const rest = await app.call('GET', `/v1/catalogs?limit=1&cursor=${String(all.body['nextCursor'])}`);
    expect(rest.body).toMatchObject({ data: [{ catalog: 'imagineart' }] });
  });

  test('leaves every version as it was', async () => {
    const first = await engine.catalogs.version('tunesmith', 1);
    expect(first?.catalog).toEqual(file());
  });

  test.each<[string, (catalog: ReturnType<typeof file>) => unknown, string, string]>([
    [
      'a wrong field',
      (catalog) => ({ ...catalog, currency: 'euro' }),
      'currency',
      'must be a currency such as USD',
    ],
    [
      'a field nobody knows',
      (catalog) => ({ ...catalog, colour: 'red' }),
      'colour',
      'There is no such field.',
    ],
    [
      'a name that leads nowhere',
      (catalog) => ({ ...catalog, quotas: [] }),
      'plans.0.quotas.albums',
      'there is no quota albums',
    ],
    [
      'an assertion that does not hold',
      (catalog) => ({
        ...catalog,
        assertions: [
          { assert: 'within', says: 'Songs are cheap', of: { action: 'song' }, atLeast: 0, atMost: 1 },
        ],
      }),
      'assertions.0',
      'does not hold: song fiddle seconds 30 voice false at 3.75 is not from 0 to 1',
    ],
  ])('with %s is a 422 that names the place', async (_, edit, where, message) => {
    const { status, body } = await post('/v1/catalogs', edit(file()));
    expect(status).toBe(422);
    expect(body['errors']).toContainEqual({ path: where, message: expect.stringContaining(message) });
  });

  test('without a plan that accounts are on is a 422, also when it is only tried', async () => {
    const renamed: object = JSON.parse(JSON.stringify(file()).replaceAll('"listener"', '"reader"'));
    for (const dryRun of [true, false]) {
      const { status, body } = await post('/v1/catalogs', { ...renamed, dryRun });
      expect(status).toBe(422);
      expect(body['errors']).toEqual([
        { path: 'plans', message: expect.stringContaining('keep plan listener: ') },
      ]);
    }
  });

  test('keeps the free plan, whoever is on it: accounts are opened on it and come back to it', async () => {
    const renamed: object = {
      ...JSON.parse(JSON.stringify(file()).replaceAll('"listener"', '"reader"')),
      catalog: 'unused',
    };
    expect((await post('/v1/catalogs', { ...file(), catalog: 'unused' })).status).toBe(201);
    const { status, body } = await post('/v1/catalogs', { ...renamed, effectiveAt: '2031-01-01T00:00:00Z' });
    expect([status, body['errors']]).toMatchObject([
      422,
      [{ path: 'plans', message: expect.stringContaining('keep plan listener: ') }],
    ]);
  });

  test('answers once every process has read the list of versions again', async () => {
    const started = Date.now();
    await post('/v1/catalogs', repriced(0.5));
    expect(Date.now() - started).toBeGreaterThanOrEqual(LIST_TTL_MS);
  });
});
