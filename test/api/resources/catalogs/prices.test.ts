import path from 'node:path';
import { publishCatalog, readCatalog } from '../../../../db/catalogs/catalogs';
import { createEngine, type Engine } from '../../../../db/engine';
import { estimateRoutes } from '../../../../api/resources/catalogs/estimates';
import { priceRoutes } from '../../../../api/resources/catalogs/prices';
import { createQuoting, quoteRoutes } from '../../../../api/resources/generations/quotes';
import { type TestDatabase, testDatabase } from '../../../support/database';
import { type Reply, startApp, type TestApp } from '../../app';

/** Prices, quotes and estimates over HTTP, on the catalogs that ship and one invented product. */

const ROOT = path.join(__dirname, '../../../..');

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
      ['free', false, 78_452], // a hundred free credits on each of 22 days
      ['basic', false, 77_652],
      ['standard', false, 72_652],
      ['ultimate', false, 64_652],
      ['creator', true, 0],
      ['teams-scale', true, 0],
      ['enterprise', true, 0],
    ]);
  });

  test('counts free daily credits where work is said by the day, for models they may pay, and no others', async () => {
    const free = async (item: object) => {
      const body = { catalog: 'imagineart', items: [item], bufferPercent: [0, 0] };
      const reply = await post('/v1/estimates', body);
      const [first] = reply.body['plans'] as { credits: number; covers: boolean; shortfall: number }[];
      return first;
    };
    const image = { action: 'image', credits: 25, days: 30 };
    expect(await free({ ...image, perDay: 4 })).toMatchObject({ credits: 0, covers: true, shortfall: 0 });
    expect(await free({ ...image, perDay: 5 })).toMatchObject({ covers: false, shortfall: 25 * 30 });
    expect(await free({ action: 'image', credits: 25, perMonth: 1 })).toMatchObject({ shortfall: 25 });
    const pro = { ...image, model: 'nano-banana-pro', perDay: 1 };
    expect(await free(pro)).toMatchObject({ covers: false, shortfall: 25 * 30 });
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
