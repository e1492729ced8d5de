import { milli, toMilli } from '../../../domain/credits';
import { type EstimateItem, estimate } from '../../../domain/access/estimates';
import { readProduct } from '../../products/product';
import { imagineart, parsed, smallest } from '../catalogs';

const catalog = parsed(smallest());

function estimated(items: EstimateItem[], bufferPercent: [number, number] = [20, 30], from = catalog) {
  const result = estimate({ catalog: from, items, bufferPercent });
  if (!result.ok) throw new Error(JSON.stringify(result));
  return result.estimate;
}

describe('an estimate', () => {
  it('multiplies what one costs by how often', () => {
    const items = [
      { action: 'image', params: { outputs: 2 }, times: { perDay: 3, days: 20 } },
      { action: 'video', params: { seconds: 8 }, times: { perMonth: 2 } },
    ];
    expect(estimated(items).lines).toEqual([
      {
        label: 'Image: Plain',
        action: 'image',
        model: 'plain',
        params: { resolution: '1K', outputs: 2 },
        quantity: 60,
        unit: 'image',
        rate: 5,
        credits: 300,
      },
      {
        label: 'Video: Clip',
        action: 'video',
        model: 'clip',
        params: { audio: false, seconds: 8, outputs: 1 },
        quantity: 2,
        unit: 'video',
        rate: 256,
        credits: 512,
      },
    ]);
  });

  it('takes the credits it is given instead of the rate', () => {
    const items = [{ action: 'image', creditsMilli: toMilli(0.5), times: { perMonth: 3 } }];
    expect(estimated(items)).toMatchObject({ lines: [{ rate: 0.5 }], subtotal: 1.5 });
  });

  it('rounds a buffer up to the millicredit, so that what is needed is never less', () => {
    const items = [{ action: 'image', creditsMilli: milli(1), times: { perMonth: 1 } }];
    expect(estimated(items, [0, 1]).withBuffer).toEqual({ low: 0.001, high: 0.002 });
  });

  it('says of each plan whether it covers the upper end, and what is missing', () => {
    const items = [{ action: 'image', times: { perMonth: 32 } }];
    const { subtotal, withBuffer, plans } = estimated(items, [10, 30]);
    expect([subtotal, withBuffer]).toEqual([80, { low: 88, high: 104 }]);
    expect(plans.map(({ plan, credits, covers, shortfall }) => [plan, credits, covers, shortfall])).toEqual([
      ['free', 0, false, 104],
      ['one', 100, false, 4],
      ['two', 1000, true, 0],
    ]);
  });

  it('is not covered by a plan that may not do what is listed, however many credits it has', () => {
    const items = [{ action: 'video', model: 'veo-3.1', times: { perMonth: 1 } }];
    const { plans } = estimated(items, [0, 0], imagineart());
    expect(plans.map(({ plan, allowed, covers }) => [plan, allowed, covers]).slice(1, 4)).toEqual([
      ['basic', false, false],
      ['standard', false, false],
      ['ultimate', true, true],
    ]);
  });

  it('is not covered by a plan whose quota ends before its credits', () => {
    const sites = (perMonth: number) =>
      estimated([{ action: 'site', times: { perMonth } }], [20, 30], readProduct('draftly')).plans;
    const covering = (perMonth: number) => sites(perMonth).find(({ covers }) => covers)?.plan;
    expect([covering(2), covering(3)]).toEqual(['basic', 'basic-plus']);
    expect(sites(3)[1]).toMatchObject({ plan: 'basic', allowed: false, covers: false, shortfall: 0 });
  });

  it('adds up what its items use of one quota', () => {
    const site = { action: 'site', times: { perMonth: 1 } };
    const { plans } = estimated([site, site, site], [0, 0], readProduct('draftly'));
    expect(plans.map(({ plan, allowed }) => [plan, allowed]).slice(0, 3)).toEqual([
      ['free', false],
      ['basic', false],
      ['basic-plus', true],
    ]);
  });

  it('counts a daily quota by what a day has of it', () => {
    const json = smallest();
    const [image, ...others] = json.actions;
    const daily = parsed({
      ...json,
      quotas: [{ quota: 'images', label: 'Images', period: 'day', illustrative: true }],
      plans: json.plans.map((one) => ({ ...one, quotas: { images: 3 } })),
      actions: [{ ...image, quotas: ['images'] }, ...others],
    });
    const allowed = (times: EstimateItem['times']) =>
      estimated([{ action: 'image', times }], [0, 0], daily).plans.at(-1)?.allowed;
    expect([allowed({ perDay: 3, days: 22 }), allowed({ perDay: 4, days: 1 })]).toEqual([true, false]);
    expect([allowed({ perMonth: 93 }), allowed({ perMonth: 94 })]).toEqual([true, false]);
  });

  it('of something that cannot be ordered says which item is wrong', () => {
    const items = [
      { action: 'image', times: { perMonth: 1 } },
      { action: 'image', params: { seconds: 5 }, times: { perMonth: 1 } },
    ];
    expect(estimate({ catalog, items, bufferPercent: [20, 30] })).toMatchObject({
      ok: false,
      item: 1,
      refusal: { code: 'unknown_option', path: 'params.seconds' },
    });
  });

  it('beyond all bounds is refused, and no number is lost on the way', () => {
    const items = [
      { action: 'image', creditsMilli: toMilli(1_000_000_000), times: { perDay: 1_000_000, days: 31 } },
    ];
    expect(estimate({ catalog, items, bufferPercent: [20, 30] })).toEqual({
      ok: false,
      item: 0,
      tooMuch: 'comes to more than 1,000,000,000 credits a month',
    });
  });
});
