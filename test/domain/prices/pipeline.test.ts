import type { Catalog } from '../../../domain/catalog/catalog';
import { parseCatalog } from '../../../domain/publish/parse';
import { price } from '../../../domain/prices/price';
import { parsed, smallest } from '../catalogs';

/** A book: a cover (an image) and a film (4 s of video at 32), 8 for the text, nothing for a rename. */
function book(pipeline: Record<string, unknown> = {}, action: Record<string, unknown> = {}) {
  const json = smallest();
  const phases = [
    { phase: 'cover', label: 'Cover', action: 'image', params: { resolution: { option: 'cover' } } },
    { phase: 'film', label: 'Film', action: 'video', model: { option: 'film' } },
    { phase: 'text', label: 'Text', credits: 8, approximate: true },
    { phase: 'name', label: 'Name', action: 'rename' },
  ];
  const options = {
    cover: { values: ['1K', '2K'], default: '1K' },
    film: { values: ['clip'], default: 'clip' },
  };
  const made = {
    action: 'book',
    label: 'Book',
    unit: 'book',
    maxDuration: 'PT1H',
    quotas: ['books'],
    provider: { type: 'external', deadlineSeconds: 60 },
    pipeline: { options, phases, holdAtLeast: 140, ...pipeline },
    ...action,
  };
  const quotas = [{ quota: 'books', label: 'Books', period: 'cycle' }];
  return { ...json, quotas, actions: [...json.actions, made] };
}

const catalog: Catalog = parsed(book());

function pricedOf(params: Record<string, unknown> = {}, from = catalog) {
  const result = price({ catalog: from, action: 'book', params });
  if (!result.ok) throw new Error(result.refusal.detail);
  return result.priced;
}

describe('the price of a pipeline', () => {
  it('has a line for each phase, priced as the action it is', () => {
    expect(pricedOf().lines).toEqual([
      {
        phase: 'cover',
        label: 'Cover: Image: Plain',
        quantity: 1,
        unit: 'image',
        rateMilli: 2_500,
        creditsMilli: 2_500,
      },
      {
        phase: 'film',
        label: 'Film: Video: Clip',
        quantity: 4,
        unit: 'second',
        rateMilli: 32_000,
        creditsMilli: 128_000,
      },
      { phase: 'text', label: 'Text', quantity: 1, unit: 'phase', rateMilli: 8_000, creditsMilli: 8_000 },
      { phase: 'name', label: 'Name: free', quantity: 1, unit: 'phase', rateMilli: 0, creditsMilli: 0 },
    ]);
  });

  it('is the sum of its phases, and holds the published upper end where that is more', () => {
    expect(pricedOf()).toMatchObject({
      creditsMilli: 138_500,
      minMilli: 138_500,
      ceilingMilli: 140_000,
      outputs: 1,
      model: null,
      params: { cover: '1K', film: 'clip', outputs: 1 },
      approximate: true,
      quotas: ['books'],
    });
  });

  it('holds the sum where that is more', () => {
    expect(pricedOf({ cover: '2K' })).toMatchObject({ creditsMilli: 141_000, ceilingMilli: 141_000 });
  });

  it('asks for the highest plan of its phases, and carries their tags', () => {
    expect([pricedOf().requiredPlan, pricedOf({ cover: '2K' }).requiredPlan]).toEqual(['one', 'two']);
    expect(pricedOf().tags).toEqual(['pro']);
  });
});

describe('a wrong request for a pipeline is refused, with its path and what is allowed', () => {
  it.each<[string, Record<string, unknown>, string, string]>([
    ['an option it has not', { colour: 'red' }, 'params.colour', 'it has cover, film, outputs'],
    ['a value it has not', { cover: '8K' }, 'params.cover', 'one of 1K, 2K'],
    ['two at once', { outputs: 2 }, 'params.outputs', 'must be 1'],
  ])('%s', (_, params, path, detail) => {
    const result = price({ catalog, action: 'book', params });
    expect(result.ok ? null : result.refusal).toEqual({
      code: 'unknown_option',
      path,
      detail: expect.stringContaining(detail),
    });
  });

  it('a model', () => {
    const result = price({ catalog, action: 'book', model: 'plain' });
    expect(result.ok ? null : result.refusal).toMatchObject({ code: 'unknown_model', path: 'model' });
  });

  it('a combination that one phase cannot be made with', () => {
    const options = {
      cover: { values: ['1K', '8K'], default: '1K' },
      film: { values: ['clip'], default: 'clip' },
    };
    const result = price({ catalog: parsed(book({ options })), action: 'book', params: { cover: '8K' } });
    expect(result.ok ? null : result.refusal).toEqual({
      code: 'unknown_option',
      path: 'params',
      detail: 'With these options cover cannot be made: resolution must be one of 1K, 2K.',
    });
  });
});

describe('a pipeline', () => {
  const phase = (change: Record<string, unknown>) => ({
    phases: [{ phase: 'one', label: 'One', ...change }],
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>, string]>([
    [
      'has no models',
      {},
      { defaultModel: 'm', models: smallest().actions[0]?.models },
      'pipeline: a pipeline is',
    ],
    ['makes one output', {}, { maxOutputs: 2 }, 'maxOutputs: a pipeline makes one output'],
    [
      'counts against quotas that exist',
      {},
      { quotas: ['boks'] },
      'quotas.0: there is no quota boks; use one of: books',
    ],
    [
      'prices a phase one way',
      phase({ action: 'image', credits: 1 }),
      {},
      'pipeline.phases.0: a phase is priced',
    ],
    ['prices every phase', phase({}), {}, 'pipeline.phases.0: a phase is priced either'],
    [
      'has phases of actions that exist',
      phase({ action: 'song' }),
      {},
      'phases.0.action: there is no action song',
    ],
    ['is not made of pipelines', phase({ action: 'book' }), {}, 'phases.0.action: a phase is not a pipeline'],
    [
      'gives no options to what has none',
      phase({ credits: 1, params: { resolution: '1K' } }),
      {},
      'phases.0: a phase with `credits` of its own has no model',
    ],
    [
      'passes on options it has',
      phase({ action: 'image', params: { resolution: { option: 'size' } } }),
      {},
      'phases.0.params.resolution: the pipeline has no option size',
    ],
    [
      'passes on a model it has',
      phase({ action: 'image', model: { option: 'artist' } }),
      {},
      'phases.0.model: the pipeline has no option artist',
    ],
    [
      'has a price for its defaults',
      phase({ action: 'image', params: { resolution: '8K' } }),
      {},
      'pipeline: the default options must have a price in every phase',
    ],
    [
      'costs something in all, though a phase may cost nothing',
      { ...phase({ credits: 0 }), holdAtLeast: 0 },
      {},
      'pipeline.phases: what they cost together must be more than 0',
    ],
    [
      'costs no more than one operation may move',
      { phases: ['a', 'b'].map((id) => ({ phase: id, label: id, credits: 600_000_000 })) },
      {},
      'pipeline: the dearest order must cost at most 1,000,000,000 credits',
    ],
    [
      'has phases that differ',
      { phases: ['a', 'a'].map((id) => ({ phase: id, label: id, credits: 1 })) },
      {},
      'phases.1: id a is used twice',
    ],
  ])('%s', (_, pipeline, action, error) => {
    const result = parseCatalog(book(pipeline, action));
    const errors = result.ok ? [] : result.errors.map(({ path, message }) => `${path}: ${message}`);
    expect(errors).toContainEqual(expect.stringContaining(error));
  });
});
