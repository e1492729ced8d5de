import * as fc from 'fast-check';
import { toCredits } from '../../../domain/credits';
import { canonicalJson } from '../../../domain/ids';
import { parseCatalog } from '../../../domain/publish/parse';
import type { PriceRequest, Priced } from '../../../domain/prices/line';
import { price } from '../../../domain/prices/price';
import type { Refusal } from '../../../domain/refusals';
import { imagineart, parsed, smallest } from '../catalogs';

const catalog = imagineart();
const small = parsed(smallest());

function pricedOf(request: Omit<PriceRequest, 'catalog'>, from = catalog): Priced {
  const result = price({ catalog: from, ...request });
  if (!result.ok) throw new Error(result.refusal.detail);
  return result.priced;
}

function refusalOf(request: Omit<PriceRequest, 'catalog'>, from = catalog): Refusal {
  const result = price({ catalog: from, ...request });
  if (result.ok) throw new Error(`priced at ${result.priced.creditsMilli}`);
  return result.refusal;
}

const creditsOf = (request: Omit<PriceRequest, 'catalog'>) => toCredits(pricedOf(request).creditsMilli);

describe('the price of an ImagineArt image', () => {
  it.each([
    ['imagineart-2.0', { '1K': 25 }],
    ['imagineart-1.5', { '1K': 15 }],
    ['imagineart-1.5-pro', { '1K': 25 }],
    ['nano-banana', { '1K': 24 }],
    ['nano-banana-2', { '1K': 49, '2K': 73.5, '4K': 98 }],
    ['nano-banana-pro', { '1K': 80, '2K': 80, '4K': 160 }],
    ['chatgpt', { '1K': 45 }],
    ['chatgpt-1.5', { '1K': 35 }],
    ['seedream-5-lite', { '1K': 20 }],
    ['seedream-4.5', { '1K': 24 }],
    ['recraft-v4', { '1K': 24 }],
    ['recraft-v4-pro', { '1K': 150 }],
    ['grok-imagine', { '1K': 12 }],
    ['flux-2-max', { '1K': 50 }],
    ['flux-2-pro', { '1K': 28 }],
    ['flux-1.1-ultra', { '1K': 36 }],
    ['flux-dev', { '1K': 5 }],
    ['z-image-turbo', { '1K': 5 }],
    ['imagen-4', { '1K': 24 }],
    ['dreamina-3.1', { '1K': 18 }],
    ['ideogram-v3', { '1K': 25 }],
  ])('%s is what the vendor says: %j', (model, published) => {
    const resolutions = catalog.actions
      .find((one) => one.action === 'image')
      ?.models.find((one) => one.model === model)?.options['resolution']?.values;
    expect(resolutions).toEqual(expect.arrayContaining(Object.keys(published)));
    for (const [resolution, credits] of Object.entries(published)) {
      expect(creditsOf({ action: 'image', model, params: { resolution } })).toBe(credits);
    }
  });

  it('is that of the default model and resolution where none is named', () => {
    expect(pricedOf({ action: 'image' })).toMatchObject({
      model: 'imagineart-2.0',
      params: { resolution: '1K', outputs: 1 },
      creditsMilli: 25_000,
    });
  });

  it('keeps fractions: three at 73.5 are 220.5', () => {
    const params = { resolution: '2K', outputs: 3 };
    const priced = pricedOf({ action: 'image', model: 'nano-banana-2', params });
    expect(priced.creditsMilli).toBe(220_500);
    expect(priced.lines).toEqual([
      { label: 'Image: Nano Banana 2', quantity: 3, unit: 'image', rateMilli: 73_500, creditsMilli: 220_500 },
    ]);
  });
});

describe('the price of anything', () => {
  it.each([
    ['kling-3.0-pro', 300],
    ['kling-3.0-4k', 755],
    ['veo-3.1', 900],
    ['veo-3.1-fast', 350],
    ['sora-2-pro', 720],
  ])('of a video of %s is %d at its shortest', (model, credits) => {
    expect(creditsOf({ action: 'video', model })).toBe(credits);
  });

  it('counts seconds and outputs where the rate is per second', () => {
    const params = { seconds: 8, outputs: 1 };
    const priced = pricedOf({ action: 'video', params }, small);
    expect(priced.lines).toEqual([
      { label: 'Video: Clip', quantity: 8, unit: 'second', rateMilli: 32_000, creditsMilli: 256_000 },
    ]);
    expect(priced).toMatchObject({ params: { audio: false, seconds: 8, outputs: 1 }, approximate: false });
  });

  it('brings the terms of its action: confirmation, plan, tags, limit of time, provider', () => {
    expect(pricedOf({ action: 'video', params: { seconds: 8, audio: true } }, small)).toMatchObject({
      creditsMilli: 500_000,
      approximate: true,
      needsConfirmation: true,
      requiredPlan: 'one',
      tags: ['pro'],
      maxDurationSeconds: 3600,
      provider: { type: 'external', deadlineSeconds: 60 },
    });
    expect(pricedOf({ action: 'image' }, small).provider).toEqual({ type: 'simulated', delayMs: 5 });
  });

  it('asks for the highest plan of action, model and rate', () => {
    const image = (resolution: string) =>
      pricedOf({ action: 'image', params: { resolution } }, small).requiredPlan;
    expect([image('1K'), image('2K')]).toEqual([null, 'two']);
  });

  it('is nothing for a free action, which has no lines', () => {
    expect(pricedOf({ action: 'rename' }, small)).toMatchObject({
      free: true,
      model: null,
      creditsMilli: 0,
      ceilingMilli: 0,
      outputs: 1,
      lines: [],
    });
  });

  it('has the same parameters however a request spells them', () => {
    const one = pricedOf({ action: 'video', params: { audio: true, seconds: 8 } }, small);
    const other = pricedOf(
      { action: 'video', model: 'clip', params: { outputs: 1, seconds: 8, audio: true } },
      small,
    );
    expect(JSON.stringify(one)).toBe(JSON.stringify(other));
    expect(canonicalJson(one.params)).toBe('{"audio":true,"outputs":1,"seconds":8}');
  });

  it('is a whole number of millicredits, and outputs times the price of one', () => {
    const offers = catalog.actions.flatMap((action) =>
      action.models.flatMap((model) => model.rates.map((rate) => ({ action, model, rate }))),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...offers),
        fc.integer({ min: 1, max: 8 }),
        ({ action, model, rate }, n) => {
          const outputs = Math.min(n, action.maxOutputs);
          const of = (count: number) =>
            pricedOf({
              action: action.action,
              model: model.model,
              params: { ...rate.params, outputs: count },
            });
          const [one, many] = [of(1), of(outputs)];
          expect(Number.isSafeInteger(many.creditsMilli)).toBe(true);
          expect(many.creditsMilli).toBe(one.creditsMilli * outputs);
          expect(one.creditsMilli).toBe(Math.round(rate.credits * 1000));
          expect(many.lines.reduce((sum, line) => sum + line.creditsMilli, 0)).toBe(many.creditsMilli);
          expect(many.minMilli <= many.creditsMilli && many.creditsMilli <= many.ceilingMilli).toBe(true);
        },
      ),
    );
  });

  it('is exact for every rate of three decimals', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000_000 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 4 }),
        (rateMilli, seconds, outputs) => {
          const json = smallest();
          const rates = [{ credits: rateMilli / 1000, per: 'second' }];
          const model = {
            model: 'm',
            label: 'M',
            rates,
            options: { seconds: { values: [seconds], default: seconds } },
          };
          const action = { ...json.actions[0], defaultModel: 'm', models: [model] };
          const result = parseCatalog({ ...json, actions: [action] });
          if (!result.ok) throw new Error(JSON.stringify(result.errors));
          const priced = pricedOf({ action: 'image', params: { outputs } }, result.catalog);
          expect(BigInt(priced.creditsMilli)).toBe(BigInt(rateMilli) * BigInt(seconds) * BigInt(outputs));
        },
      ),
    );
  });
});

describe('a wrong parameter is refused, with its path and what is allowed', () => {
  it.each<[string, Omit<PriceRequest, 'catalog'>, string, string, string]>([
    ['an action nobody offers', { action: 'song' }, 'unknown_action', 'action', 'use image, video'],
    [
      'a model nobody offers',
      { action: 'image', model: 'dall-e' },
      'unknown_model',
      'model',
      'imagineart-2.0',
    ],
    [
      'a model of another action',
      { action: 'image', model: 'veo-3.1' },
      'unknown_model',
      'model',
      'flux-dev',
    ],
    [
      'a resolution the model has not',
      { action: 'image', params: { resolution: '4K' } },
      'unknown_option',
      'params.resolution',
      'must be one of 1K',
    ],
    [
      'seconds the model has not',
      { action: 'video', params: { seconds: 7 } },
      'unknown_option',
      'params.seconds',
      'must be one of 5, 10',
    ],
    [
      'seconds as text',
      { action: 'video', params: { seconds: '5' } },
      'unknown_option',
      'params.seconds',
      'must be one of 5, 10',
    ],
    [
      'audio on an image',
      { action: 'image', params: { audio: true } },
      'unknown_option',
      'params.audio',
      'has no option "audio"; it has resolution, outputs',
    ],
  ])('%s', (_, request, code, path, detail) => {
    expect(refusalOf(request)).toEqual({ code, path, detail: expect.stringContaining(detail) });
  });

  it.each([0, -1, 1.5, 9, 1e9, Number.NaN, Number.POSITIVE_INFINITY, '2', true, null, [1], {}])(
    'outputs of %j',
    (outputs) => {
      expect(refusalOf({ action: 'image', params: { outputs } })).toEqual({
        code: 'unknown_option',
        path: 'params.outputs',
        detail: 'outputs must be a whole number from 1 to 8.',
      });
    },
  );

  it.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])('a parameter called %s', (name) => {
    const params = JSON.parse(`{"${name}": 1}`) as Record<string, unknown>; // as it comes from the wire
    expect(refusalOf({ action: 'image', params })).toMatchObject({
      code: 'unknown_option',
      path: `params.${name}`,
    });
    expect(refusalOf({ action: 'image', model: name })).toMatchObject({ code: 'unknown_model' });
    expect(refusalOf({ action: name })).toMatchObject({ code: 'unknown_action' });
  });

  it('options that are offered, but not together', () => {
    expect(refusalOf({ action: 'video', params: { audio: true } }, small)).toEqual({
      code: 'unknown_option',
      path: 'params',
      detail: expect.stringContaining('{"audio":true,"seconds":8}'),
    });
  });

  it('anything that is said about a free action', () => {
    expect(refusalOf({ action: 'rename', model: 'plain' }, small).code).toBe('unknown_model');
    expect(refusalOf({ action: 'rename', params: { outputs: 2 } }, small)).toMatchObject({
      code: 'unknown_option',
      path: 'params.outputs',
    });
  });

  it('whatever it is: the answer is a price or a refusal, never an exception', () => {
    const name = fc.oneof(fc.constantFrom('image', 'video', 'seconds', 'resolution', 'outputs'), fc.string());
    fc.assert(
      fc.property(name, fc.option(name), fc.dictionary(name, fc.jsonValue()), (action, model, params) => {
        const result = price({ catalog, action, params, ...(model === null ? {} : { model }) });
        const detail = result.ok ? 'priced' : result.refusal.detail;
        expect(detail.length > 0 && detail.length < 2000).toBe(true);
      }),
    );
  });
});
