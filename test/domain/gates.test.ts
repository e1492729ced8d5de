import { excludedBuckets, planGate } from '../../domain/gates';
import { type Priced, price } from '../../domain/prices';
import { imagineart, parsed, smallest } from './catalogs';

const catalog = imagineart();

function priced(action: string, model?: string): Priced {
  const result = price({ catalog, action, ...(model === undefined ? {} : { model }) });
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
