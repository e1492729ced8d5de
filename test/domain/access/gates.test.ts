import { excludedBuckets, planGate, quotaUses } from '../../../domain/access/gates';
import type { Priced } from '../../../domain/prices/line';
import { price } from '../../../domain/prices/price';
import { imagineart, parsed, smallest } from '../catalogs';
import { defined } from '../../../domain/defined';

const catalog = imagineart();

function priced(action: string, model?: string): Priced {
  const result = price({ catalog, action, ...defined({ model }) });
  if (!result.ok) throw new Error(result.refusal.detail);
  return result.priced;
}

describe('the plan gate', () => {
  it('asks for a subscription where the model is a Pro one, and says which', () => {
    expect(planGate({ catalog, plan: 'free', priced: priced('image', 'nano-banana-pro') })).toEqual({
      code: 'plan_required',
      detail: 'image with nano-banana-pro needs the plan Basic or a higher one.',
      facts: { requiredPlan: 'basic' },
    });
  });

  it('lets that plan and every higher one pass', () => {
    const veo = priced('video', 'veo-3.1');
    const passing = catalog.plans.filter(({ plan }) => planGate({ catalog, plan, priced: veo }) === null);
    expect(passing.map((one) => one.plan)).toEqual(['ultimate', 'creator', 'teams-scale', 'enterprise']);
  });

  it('lets everyone pass where nothing is asked for', () => {
    expect(planGate({ catalog, plan: 'free', priced: priced('image') })).toBeNull();
  });

  it('takes an account on a plan that no longer exists for a free one', () => {
    const gate = planGate({ catalog, plan: 'bygone', priced: priced('video', 'sora-2-pro') });
    expect(gate?.code).toBe('plan_required');
  });
});

describe('excluded buckets', () => {
  it('are those that may not pay for one of the model’s tags: free credits never pay for Pro', () => {
    expect(excludedBuckets({ catalog, priced: priced('image', 'flux-2-pro') })).toEqual(['daily']);
    expect(excludedBuckets({ catalog, priced: priced('image', 'flux-2-max') })).toEqual([]);
  });

  it('are none for a free action', () => {
    const small = parsed(smallest());
    const result = price({ catalog: small, action: 'rename' });
    expect(result.ok && excludedBuckets({ catalog: small, priced: result.priced })).toEqual([]);
  });
});

describe('quotas', () => {
  const json = smallest();
  const [image, video, rename] = json.actions;
  const [free, one, two] = json.plans;
  const counted = parsed({
    ...json,
    quotas: [{ quota: 'images', label: 'Images', period: 'calendar-month' }],
    plans: [{ ...free, quotas: { images: 0 } }, { ...one, quotas: { images: 7 } }, two],
    actions: [{ ...image, quotas: ['images'] }, video, rename],
  });
  const uses = (plan: string, action: string, outputs = 1) => {
    const result = price({ catalog: counted, action, ...(outputs > 1 ? { params: { outputs } } : {}) });
    return result.ok && quotaUses({ catalog: counted, plan, priced: result.priced });
  };

  it('are used once by each output, up to what the plan says', () => {
    expect(uses('one', 'image', 3)).toEqual([
      { quota: 'images', label: 'Images', period: 'calendar-month', limit: 7, uses: 3 },
    ]);
  });

  it('may allow nothing at all, also to an account whose plan is gone', () => {
    expect([uses('free', 'image'), uses('bygone', 'image')]).toMatchObject([[{ limit: 0 }], [{ limit: 0 }]]);
  });

  it('are counted also where the plan sets no limit, and not by other actions', () => {
    expect([uses('two', 'image', 2), uses('one', 'video'), uses('one', 'rename')]).toMatchObject([
      [{ quota: 'images', limit: null, uses: 2 }],
      [],
      [],
    ]);
  });
});
