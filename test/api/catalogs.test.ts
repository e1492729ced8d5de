import path from 'node:path';
import { LIST_TTL_MS, publishCatalog, readCatalog } from '../../db/catalogs';
import { createEngine, type Engine } from '../../db/engine';
import { catalogRoutes } from '../../api/resources/catalogs';
import { estimateRoutes } from '../../api/resources/estimates';
import { priceRoutes } from '../../api/resources/prices';
import { createQuoting, quoteRoutes } from '../../api/resources/quoting';
import { type TestDatabase, testDatabase } from '../support/database';
import { type Reply, startApp, type TestApp } from './app';

/** Catalogs, prices, quotes and estimates over HTTP, on the catalogs that ship and one invented product. */

const ROOT = path.join(__dirname, '../..');

let database: TestDatabase;
let engine: Engine;
let app: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  const names = ['imagineart', 'imagineart-legacy', 'intangible', 'draftly'].map(
    (id) => `catalogs/${id}.json`,
  );
  for (const file of [...names, 'test/support/catalogs/tunesmith.json'])
    await publishCatalog(database.db.knex, { catalog: readCatalog(path.join(ROOT, file)) });
  engine = createEngine({
    database: database.db,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  const deps = { ...engine, db: database.db };
  const routes = [
    ...catalogRoutes(deps),
    ...priceRoutes(deps),
    ...estimateRoutes(deps),
    ...quoteRoutes({ quoting: createQuoting(deps) }),
  ];
  app = await startApp({ db: database.db, routes });
  const open = (account: string, catalog: string, plan: string) =>
    engine.ledger.open({
      account,
      catalog,
      plan,
      planSource: ['free', 'listener'].includes(plan) ? 'free' : 'admin',
    });
  await open('builder', 'draftly', 'basic');
  await open('guest', 'imagineart', 'free');
  await open('fan', 'tunesmith', 'listener');
});
afterAll(async () => {
  await app.close();
  await database.close();
});

const post = (at: string, body: unknown): Promise<Reply> => app.call('POST', at, { body });
const quote = (account: string, action: string, asked: Record<string, unknown> = {}) =>
  post('/v1/quotes', { account, action, ...asked });

describe('GET /v1/accounts/{id}/prices', () => {
  test('has every action of the account’s own catalog with the gates of its own plan', async () => {
    const { status, body } = await app.call('GET', '/v1/accounts/guest/prices?member=mia');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      account: 'guest',
      catalog: 'imagineart',
      catalogVersion: 1,
      showPrices: true,
      nextCursor: null,
    });
    const [image] = body['data'] as { models: { model: string; from: number; variants: unknown[] }[] }[];
    const pro = image?.models.find(({ model }) => model === 'nano-banana-pro');
    expect(pro).toMatchObject({
      from: 80,
      variants: [
        {
          params: { resolution: '1K' },
          credits: 80,
          allowed: false,
          reason: 'plan_required',
          requiredPlan: 'basic',
          drawsFrom: ['promo', 'plan', 'pack'],
        },
        { params: { resolution: '2K' }, credits: 80 },
        { params: { resolution: '4K' }, credits: 160 },
      ],
    });
  });

  test('of an account nobody opened is a 404', async () => {
    const { status, body } = await app.call('GET', '/v1/accounts/nobody/prices');
    expect([status, body['code']]).toEqual([404, 'unknown_account']);
  });
});

describe('POST /v1/quotes of a pipeline', () => {
  test('has a line for each phase, and what is held at most', async () => {
    const { status, body } = await quote('builder', 'site');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      credits: 282,
      min: 282,
      ceiling: 600,
      allowed: true,
      reason: null,
      draws: [{ bucket: 'plan', credits: 600 }],
      needsConfirmation: false,
    });
    expect(body['lines']).toEqual([
      {
        phase: 'hero-image',
        label: 'Hero image (HD): Image: Seedream 4.5',
        quantity: 1,
        unit: 'image',
        rate: 18,
        credits: 18,
      },
      {
        phase: 'motion-video',
        label: 'Motion video: Video: Veo 3.1 Standard',
        quantity: 8,
        unit: 'second',
        rate: 32,
        credits: 256,
      },
      { phase: 'html', label: 'Site HTML assembly', quantity: 1, unit: 'phase', rate: 8, credits: 8 },
      {
        phase: 'frame-extraction',
        label: 'Frame extraction: free',
        quantity: 1,
        unit: 'phase',
        rate: 0,
        credits: 0,
      },
    ]);
  });

  test('says that a full regeneration must be confirmed', async () => {
    const { body } = await quote('builder', 'site-regeneration');
    expect(body).toMatchObject({ needsConfirmation: true, ceiling: 600 });
  });

  test('asks for the plan of its dearest phase', async () => {
    const { body } = await quote('builder', 'site', { params: { videoModel: 'veo-3.1-hd' } });
    expect(body).toMatchObject({
      credits: 706,
      ceiling: 706,
      allowed: false,
      reason: 'plan_required',
      draws: [],
    });
    expect(body['paywall']).toMatchObject({
      requiredPlan: 'premium',
      ways: ['upgrade'],
      plans: [{ plan: 'premium' }],
    });
  });
});

describe('a wrong parameter is a 422 with its path and what is allowed', () => {
  test.each<[string, Record<string, unknown>, string, string]>([
    ['no output', { params: { outputs: 0 } }, 'params.outputs', 'a whole number from 1 to 4'],
    ['less than none', { params: { outputs: -1 } }, 'params.outputs', 'a whole number from 1 to 4'],
    ['half an output', { params: { outputs: 0.5 } }, 'params.outputs', 'a whole number from 1 to 4'],
    ['absurdly many', { params: { outputs: 1e15 } }, 'params.outputs', 'a whole number from 1 to 4'],
    ['an unknown resolution', { params: { resolution: '8K' } }, 'params.resolution', 'one of 1K, 2K, 4K'],
    ['audio on an image', { params: { audio: true } }, 'params.audio', 'it has resolution, outputs'],
    ['an unknown model', { model: 'dall-e' }, 'model', 'use nano-banana-pro, seedream-4.5'],
  ])('%s', async (_, asked, where, allowed) => {
    const { status, body } = await quote('builder', 'image', asked);
    expect(status).toBe(422);
    expect(body['errors']).toEqual([{ path: where, message: expect.stringContaining(allowed) }]);
  });

  test('seconds that the model does not offer', async () => {
    const { status, body } = await quote('builder', 'video', { params: { seconds: 61 } });
    expect([status, body['code']]).toEqual([422, 'unknown_option']);
    expect(body['errors']).toEqual([
      { path: 'params.seconds', message: 'seconds must be a whole number from 1 to 60.' },
    ]);
  });
});

describe('POST /v1/estimates', () => {
  const items = [
    { action: 'image', credits: 24, perDay: 30, days: 22 },
    { action: 'video', credits: 210, perDay: 10, days: 22 },
  ];

  test('is the example of the vendor’s page: 62,040, with 20 to 30 % 74,448 and 80,652', async () => {
    const { status, body } = await post('/v1/estimates', { catalog: 'imagineart', items });
    expect(status).toBe(200);
    expect(body).toMatchObject({ subtotal: 62_040, withBuffer: { low: 74_448, high: 80_652 } });
    const plans = body['plans'] as { plan: string; credits: number; covers: boolean; shortfall: number }[];
    expect(plans.map(({ plan, covers, shortfall }) => [plan, covers, shortfall])).toEqual([
      ['free', false, 80_652],
      ['basic', false, 77_652],
      ['standard', false, 72_652],
      ['ultimate', false, 64_652],
      ['creator', true, 0],
      ['teams-scale', true, 0],
      ['enterprise', true, 0],
    ]);
  });

  test('takes the rates of the catalog, a buffer of its own, and thirty days where none are said', async () => {
    const { body } = await post('/v1/estimates', {
      catalog: 'draftly',
      items: [
        { action: 'chat-edit', perDay: 3 },
        { action: 'site', perMonth: 2 },
      ],
      bufferPercent: [0, 50],
    });
    expect(body).toMatchObject({
      lines: [
        { quantity: 90, unit: 'edit', rate: 0.5, credits: 45 },
        { quantity: 2, unit: 'site', rate: 282, credits: 564 },
      ],
      subtotal: 609,
      withBuffer: { low: 609, high: 913.5 },
    });
  });

  test.each<[string, Record<string, unknown>, string, string]>([
    ['an unknown catalog', { catalog: 'nowhere', items }, 'unknown_catalog', ''],
    ['an unknown action', { items: [{ action: 'song', perDay: 1 }] }, 'unknown_action', 'items.0.action'],
    [
      'a wrong option of the second item',
      { items: [items[0], { action: 'video', params: { seconds: 7 }, perDay: 1 }] },
      'unknown_option',
      'items.1.params.seconds',
    ],
    ['nothing said of how often', { items: [{ action: 'image' }] }, 'invalid_request', 'items.0.perDay'],
    [
      'both ways of how often',
      { items: [{ action: 'image', perDay: 1, perMonth: 1 }] },
      'invalid_request',
      'items.0.perDay',
    ],
    [
      'days of what is monthly',
      { items: [{ action: 'image', perMonth: 1, days: 3 }] },
      'invalid_request',
      'items.0.days',
    ],
    ['half a time a day', { items: [{ action: 'image', perDay: 0.5 }] }, 'invalid_request', 'items.0.perDay'],
    [
      'negative credits',
      { items: [{ action: 'image', perDay: 1, credits: -1 }] },
      'invalid_request',
      'items.0.credits',
    ],
    ['a buffer upside down', { items, bufferPercent: [30, 20] }, 'invalid_request', 'bufferPercent'],
    [
      'more than can be',
      { items: [{ action: 'image', credits: 1e9, perDay: 2 }] },
      'invalid_request',
      'items.0',
    ],
  ])('with %s is a 422', async (_, body, code, where) => {
    const reply = await post('/v1/estimates', { catalog: 'imagineart', ...body });
    expect([reply.status, reply.body['code']]).toEqual([422, code]);
    const errors = (reply.body['errors'] ?? []) as { path: string }[];
    expect(errors.map((error) => error.path)).toEqual(where === '' ? [] : [where]);
  });
});

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

  test('answers once every process has read the list of versions anew', async () => {
    const started = Date.now();
    await post('/v1/catalogs', repriced(0.5));
    expect(Date.now() - started).toBeGreaterThanOrEqual(LIST_TTL_MS);
  });
});
