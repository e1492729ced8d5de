import { toMilli } from '../../../domain/credits';
import { priceList, type PriceListRequest, type PriceRow } from '../../../domain/access/priceList';
import { price } from '../../../domain/prices/price';
import { readProduct } from '../../products/product';
import { imagineart, parsed, smallest } from '../catalogs';
import { onPlan, snapshotOf } from '../snapshots';

const catalog = parsed(smallest());
/** For an account on a plan of `from`, asked by nobody in particular before anything was used. */
const list = (plan: string, from = catalog, change: Partial<PriceListRequest> = {}) =>
  priceList({
    catalog: from,
    snapshot: snapshotOf({ rules: onPlan(plan) }),
    member: null,
    used: new Map(),
    ...change,
  });
const reasons = (rows: PriceRow[]) =>
  new Set(rows.flatMap((row) => row.models.flatMap(({ variants }) => variants.map(({ reason }) => reason))));

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
    const snapshot = snapshotOf({ rules: onPlan('two', { suspended: true }) });
    expect(reasons(list('two', catalog, { snapshot }))).toEqual(new Set(['account_suspended']));
  });

  it('allows no site where the plan’s sites are used up, and says so before the click', () => {
    const used = (sites: number) => ({ used: new Map([['quota:sites', sites]]) });
    const site = (sites: number) =>
      list('basic', readProduct('draftly'), used(sites)).filter(({ action }) => action === 'site');
    expect(reasons(site(1))).toEqual(new Set([null, 'plan_required']));
    expect(reasons(site(2))).toEqual(new Set(['quota_reached', 'plan_required']));
  });

  it('allows a member what is left of its limit, and others the same as ever', () => {
    const snapshot = snapshotOf({
      rules: onPlan('two'),
      members: { mia: { role: 'member', monthlyLimit: toMilli(10) } },
    });
    const of = (member: string | null) =>
      list('two', catalog, {
        snapshot,
        member,
        used: new Map([['member:mia', toMilli(7)]]),
      })[0]?.models[0]?.variants.map(({ credits, allowed, reason }) => [credits, allowed, reason]);
    expect(of('mia')).toEqual([
      [2.5, true, null],
      [5, false, 'member_limit_reached'],
    ]);
    expect(of('max')?.every(([, allowed]) => allowed)).toBe(true);
  });

  it('allows nothing that costs more than the account’s day has left', () => {
    const snapshot = snapshotOf({ rules: onPlan('two', { creditsPerDay: toMilli(100) }) });
    const used = new Map([['account', toMilli(97)]]);
    expect(
      list('two', catalog, { snapshot, used })[0]?.models[0]?.variants.map(({ reason }) => reason),
    ).toEqual([null, 'account_limit_reached']);
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
