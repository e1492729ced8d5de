import { priceList } from '../../domain/priceList';
import { price } from '../../domain/prices';
import { readProduct } from '../products/product';
import { imagineart, parsed, smallest } from './catalogs';

const catalog = parsed(smallest());
const list = (plan: string, from = catalog) => priceList({ catalog: from, plan, suspended: false });

describe('a price list', () => {
  it('has a row for each action, and of each model the combinations that exist', () => {
    const [image, video, rename] = list('one');
    expect(image).toEqual({
      action: 'image',
      label: 'Image',
      unit: 'image',
      free: false,
      maxOutputs: 4,
      needsConfirmation: false,
      models: [
        {
          model: 'plain',
          label: 'Plain',
          options: { resolution: ['1K', '2K'] },
          from: 2.5,
          variants: [
            {
              params: { resolution: '1K' },
              credits: 2.5,
              ceiling: 2.5,
              approximate: false,
              allowed: true,
              reason: null,
              requiredPlan: null,
              drawsFrom: ['daily', 'plan', 'pack'],
            },
            {
              params: { resolution: '2K' },
              credits: 5,
              ceiling: 5,
              approximate: false,
              allowed: false,
              reason: 'plan_required',
              requiredPlan: 'two',
              drawsFrom: ['daily', 'plan', 'pack'],
            },
          ],
        },
      ],
    });
    expect(video?.models[0]?.variants.map(({ params, credits }) => [params, credits])).toEqual([
      [{ seconds: 4, audio: false }, 128],
      [{ seconds: 8, audio: false }, 256],
      [{ seconds: 8, audio: true }, 500],
    ]);
    expect(rename).toMatchObject({ free: true, models: [] });
  });

  it('leaves out values that no combination has', () => {
    const json = smallest();
    const [image, ...others] = json.actions;
    const [model] = image?.models ?? [];
    const options = { resolution: { values: ['1K', '2K', '8K'], default: '1K' } };
    const more = parsed({ ...json, actions: [{ ...image, models: [{ ...model, options }] }, ...others] });
    expect(list('one', more)[0]?.models[0]?.options).toEqual({ resolution: ['1K', '2K'] });
  });

  it('says which buckets may pay: free credits never for Pro', () => {
    const [image] = list('basic', imagineart());
    const of = (id: string) => image?.models.find(({ model }) => model === id)?.variants[0]?.drawsFrom;
    expect(of('nano-banana-pro')).toEqual(['promo', 'plan', 'pack']);
    expect(of('nano-banana')).toEqual(['promo', 'daily', 'plan', 'pack']);
  });

  it('allows nothing to a suspended account', () => {
    const rows = priceList({ catalog, plan: 'two', suspended: true });
    const variants = rows.flatMap((row) => row.models.flatMap((model) => model.variants));
    expect(new Set(variants.map(({ reason }) => reason))).toEqual(new Set(['account_suspended']));
  });

  it('shows a pipeline without a model, and what is held for it at most', () => {
    const site = list('basic', readProduct('draftly')).find(({ action }) => action === 'site');
    expect(site?.models).toHaveLength(1);
    expect(site?.models[0]).toMatchObject({
      model: null,
      options: { heroResolution: ['1K', '2K', '4K'] },
      from: 166, // the cheapest hero, 8, the relaxed video and the HTML
      variants: expect.arrayContaining([
        expect.objectContaining({
          params: { heroModel: 'seedream-4.5', heroResolution: '1K', videoModel: 'veo-3.1-standard' },
          credits: 282,
          ceiling: 600,
          allowed: true,
        }),
      ]),
    });
  });

  it.each(['imagineart', 'imagineart-legacy', 'intangible', 'draftly'])(
    'of %s has only what can be ordered, at the price it is ordered for',
    (id) => {
      const product = readProduct(id);
      const rows = list('free', product);
      expect(rows.map(({ action }) => action)).toEqual(product.actions.map(({ action }) => action));
      for (const { action, models } of rows) {
        for (const { model, variants } of models) {
          for (const { params, credits } of variants) {
            const result = price({ catalog: product, action, params, ...(model === null ? {} : { model }) });
            expect(result.ok && result.priced.creditsMilli / 1000).toBe(credits);
          }
        }
      }
    },
  );
});
