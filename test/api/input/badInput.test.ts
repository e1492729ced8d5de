import path from 'node:path';
import { readCatalog } from '../../../db/catalogs/catalogs';
import { type InUse, inUse } from '../../products/inUse';
import { readProduct } from '../../products/product';

/** Every wrong parameter, on every route that prices something: a 422 with its path and what is allowed there. */

let product: InUse;
let builder: string;
let fan: string;

beforeAll(async () => {
  product = await inUse(readProduct('draftly'));
  const { engine } = product;
  const tunesmith = readCatalog(path.join(__dirname, '../../support/catalogs/tunesmith.json'));
  await engine.call('POST', '/v1/catalogs', { body: tunesmith });
  builder = await product.open('premium');
  fan = engine.newId('fan');
  await engine.call('POST', '/v1/accounts', { body: { id: fan, catalog: 'tunesmith' } });
});
afterAll(() => product.engine.stop());

interface Wrong {
  code: string;
  errors: { path: string; message: string }[];
}

interface Where {
  route: string;
  /** The request around what is ordered. */
  body: (account: string, what: Record<string, unknown>) => Record<string, unknown>;
  /** In front of the paths of what is ordered. */
  at: string;
}

const plain = (account: string, what: Record<string, unknown>) => ({ account, ...what });
const ROUTES: [string, Where][] = [
  ['a quote', { route: '/v1/quotes', body: plain, at: '' }],
  ['a generation', { route: '/v1/generations', body: plain, at: '' }],
  ['a hold', { route: '/v1/holds', body: (account, what) => ({ account, ...what, ttlSeconds: 60 }), at: '' }],
  ['a charge', { route: '/v1/charges', body: plain, at: '' }],
  [
    'an estimate',
    {
      route: '/v1/estimates',
      body: (account, what) => ({
        catalog: account === fan ? 'tunesmith' : 'draftly',
        items: [{ ...what, perMonth: 1 }],
      }),
      at: 'items.0.',
    },
  ],
];

const image = (params: unknown) => ({ action: 'image', params });
const video = (params: unknown, model?: string) => ({ action: 'video', model, params });
const OUTPUTS = 'outputs must be a whole number from 1 to 4.';
const SECONDS = 'seconds must be a whole number from 1 to 60.';

const WRONG: [string, Record<string, unknown>, string, string, string][] = [
  ['no outputs', image({ outputs: 0 }), 'unknown_option', 'params.outputs', OUTPUTS],
  ['less than none', image({ outputs: -1 }), 'unknown_option', 'params.outputs', OUTPUTS],
  ['half an output', image({ outputs: 1.5 }), 'unknown_option', 'params.outputs', OUTPUTS],
  ['absurdly many outputs', image({ outputs: 1e300 }), 'unknown_option', 'params.outputs', OUTPUTS],
  ['outputs in words', image({ outputs: '2' }), 'unknown_option', 'params.outputs', OUTPUTS],
  ['outputs that are null', image({ outputs: null }), 'unknown_option', 'params.outputs', OUTPUTS],
  [
    'two clips where one is the most',
    video({ outputs: 2 }),
    'unknown_option',
    'params.outputs',
    'outputs must be 1, the most there is.',
  ],
  [
    'a resolution nobody offers',
    image({ resolution: '8K' }),
    'unknown_option',
    'params.resolution',
    'resolution must be one of 1K, 2K, 4K.',
  ],
  [
    'a resolution in a list',
    image({ resolution: ['1K'] }),
    'unknown_option',
    'params.resolution',
    'resolution must be one of 1K, 2K, 4K.',
  ],
  ['no seconds', video({ seconds: 0 }), 'unknown_option', 'params.seconds', SECONDS],
  ['negative seconds', video({ seconds: -8 }), 'unknown_option', 'params.seconds', SECONDS],
  ['half a second', video({ seconds: 0.5 }), 'unknown_option', 'params.seconds', SECONDS],
  ['too many seconds', video({ seconds: 61 }), 'unknown_option', 'params.seconds', SECONDS],
  ['seconds in words', video({ seconds: '8' }), 'unknown_option', 'params.seconds', SECONDS],
  [
    'seconds that this model does not offer',
    video({ seconds: 4 }, 'veo-3.1-relaxed'),
    'unknown_option',
    'params.seconds',
    'seconds must be one of 8.',
  ],
  [
    'audio on an image',
    image({ audio: true }),
    'unknown_option',
    'params.audio',
    'seedream-4.5 has no option "audio"; it has resolution, outputs.',
  ],
  [
    'the name of what every object has',
    image({ constructor: '1K' }),
    'unknown_option',
    'params.constructor',
    'seedream-4.5 has no option "constructor"; it has resolution, outputs.',
  ],
  [
    'an option of something free',
    { action: 'browse', params: { seconds: 1 } },
    'unknown_option',
    'params.seconds',
    'browse is free and has no options.',
  ],
  [
    'an option that the pipeline does not have',
    { action: 'site', params: { resolution: '4K' } },
    'unknown_option',
    'params.resolution',
    'site has no option "resolution"; it has heroModel, ',
  ],
  [
    'an unknown model',
    { action: 'video', model: 'sora' },
    'unknown_model',
    'model',
    'video has no model "sora"; use veo-3.1-standard, veo-3.1-relaxed, veo-3.1-hd, video-2k, video-4k.',
  ],
  [
    'the model of another action',
    { action: 'image', model: 'video-4k' },
    'unknown_model',
    'model',
    'image has no model "video-4k"; use nano-banana-pro, seedream-4.5, gemini-2.5-flash, flux-pro, flux-schnell.',
  ],
  [
    'a model of a pipeline',
    { action: 'site', model: 'ltx' },
    'unknown_model',
    'model',
    'site is a pipeline and has no models; leave `model` out.',
  ],
  [
    'an unknown action',
    { action: 'song' },
    'unknown_action',
    'action',
    'There is no action "song"; use image, image-edit, upscale, background-removal, video,',
  ],
  ['no name of an action', { action: '' }, 'invalid_request', 'action', 'not be empty'],
  ['params that are a list', image(['1K']), 'invalid_request', 'params', 'must be an object'],
  ['params that are null', image(null), 'invalid_request', 'params', 'must be an object'],
];

describe.each(ROUTES)('%s', (_, { route, body, at }) => {
  const send = (account: string, what: Record<string, unknown>) =>
    product.engine.call<Wrong>('POST', route, {
      body: body(account, what),
      idempotencyKey: product.engine.newId('bad'),
    });

  test.each(WRONG)('of %s', async (_what, what, code, where, allowed) => {
    const { status, body: problem } = await send(builder, what);
    expect([status, problem.code]).toEqual([422, code]);
    expect(problem.errors).toEqual([{ path: at + where, message: expect.stringContaining(allowed) }]);
  });

  test('of options that are not offered together', async () => {
    const { status, body: problem } = await send(fan, {
      action: 'song',
      params: { voice: true, seconds: 60 },
    });
    expect([status, problem.code]).toEqual([422, 'unknown_option']);
    const message =
      'fiddle is not offered with these options together; it is with {"voice":false}, {"voice":true,"seconds":30}.';
    expect(problem.errors).toEqual([{ path: `${at}params`, message }]);
  });
});

test('nothing of all this was held, taken or written down', async () => {
  const { available, held } = await product.engine.balance(builder);
  expect([available, held]).toEqual([25_000, 0]);
  expect((await product.engine.journal(builder)).map(({ kind }) => kind)).toEqual(['grant']);
});
