import { type Engine, startEngine } from '../support/processes/engine';
import { beginYear } from '../support/processes/year';

/** A year on ImagineArt: free, then Standard for a year, then lapsed, with packs that stay. */

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());

test('free → Standard, paid for a year and granted monthly → lapsed with packs', async () => {
  const ada = await beginYear(engine, { catalog: 'imagineart', from: '2026-01-31T09:00:00.000Z' });

  // On the free plan she has 100 credits a day, and no Pro models.
  expect(await ada.credits()).toEqual({ daily: 100 });
  expect(await ada.make({ action: 'image', model: 'nano-banana' })).toBe('succeeded: 24');
  expect(await ada.refused({ action: 'image', model: 'nano-banana-pro' })).toMatchObject({
    code: 'plan_required',
    requiredPlan: 'basic',
  });
  await ada.until('2026-02-01T00:00:00.000Z');
  expect(await ada.credits()).toEqual({ daily: 100 }); // set to 100, not added to the 76 that were left

  // On 3 February she takes Standard for a year. Her free credits last the day; the plan's come month by month.
  await ada.until('2026-02-03T10:00:00.000Z');
  expect(await ada.make({ action: 'image', model: 'imagineart-1.5' })).toBe('succeeded: 15');
  const preview = await ada.post<Record<string, unknown>>('plan/preview', {
    plan: 'standard',
    interval: 'year',
  });
  expect(preview.body).toMatchObject({ dueNow: 252, creditsNow: 8000 });
  await ada.post('plan', { plan: 'standard', interval: 'year' });
  expect(await ada.credits()).toEqual({ daily: 85, plan: 8000 });

  // Pro models never use free credits: 80 go from the plan though 85 free ones are left.
  expect(await ada.make({ action: 'image', model: 'nano-banana-pro' })).toBe('succeeded: 80');
  expect(await ada.credits()).toEqual({ daily: 85, plan: 7920 });

  // What is left of a month does not roll over, and a subscriber gets no free credits.
  await ada.until('2026-03-03T10:00:00.000Z');
  expect(await ada.credits()).toEqual({ plan: 8000 });

  // A big month: she buys a pack, and the plan's credits go first.
  await ada.buy('tokens-5000');
  expect(await ada.make({ action: 'video', model: 'kling-3.0-pro' })).toBe('succeeded: 300');
  expect(await ada.credits()).toEqual({ plan: 7700, pack: 5000 });

  // A render fails at the provider: everything comes back to where it was.
  const failing = { type: 'simulated', delayMs: 0, fail: 'error' };
  expect(await ada.make({ action: 'video', model: 'kling-3.0-pro', provider: failing })).toBe('failed: 0');
  expect(await ada.credits()).toEqual({ plan: 7700, pack: 5000 });

  // In November she cancels. What is paid continues to the end of the year, month by month.
  await ada.until('2026-11-20T00:00:00.000Z');
  await ada.post('cancel', { when: 'period_end' });
  await ada.until('2027-01-03T10:00:00.000Z');
  expect(await ada.credits()).toEqual({ plan: 8000, pack: 5000 });
  expect((await ada.show()).subscription.status).toBe('canceling');

  // On 3 February it lapses: packs stay, daily credits are back, Pro models are not.
  await ada.until('2027-02-03T10:00:00.000Z');
  expect(await ada.show()).toMatchObject({ plan: 'free', subscription: { status: 'lapsed' } });
  expect(await ada.credits()).toEqual({ daily: 100, pack: 5000 });
  expect(await ada.refused({ action: 'image', model: 'nano-banana-pro' })).toMatchObject({
    code: 'plan_required',
  });
  expect(await ada.make({ action: 'image', model: 'nano-banana', params: { outputs: 5 } })).toBe(
    'succeeded: 120',
  );
  expect(await ada.credits()).toEqual({ pack: 4980 });

  expect(await ada.statement()).toEqual([
    'opening 0',
    '2026-01-31 grant +100',
    '2026-01-31 image nano-banana -24',
    '2026-02-01 expiry -76',
    '2026-02-01 grant +100',
    '2026-02-02 expiry -100',
    '2026-02-03 grant +100',
    '2026-02-03 image imagineart-1.5 -15',
    '2026-02-03 grant +8000',
    '2026-02-03 image nano-banana-pro -80',
    '2026-02-04 expiry -85',
    '2026-03-03 expiry -7920',
    '2026-03-03 grant +8000',
    '2026-03-03 purchase +5000',
    '2026-03-03 video kling-3.0-pro -300',
    '2026-03-03 video kling-3.0-pro 0',
    '2026-04-03 expiry -7700',
    '2026-04-03 grant +8000',
    '2026-05-03 expiry -8000',
    '2026-05-03 grant +8000',
    '2026-06-03 expiry -8000',
    '2026-06-03 grant +8000',
    '2026-07-03 expiry -8000',
    '2026-07-03 grant +8000',
    '2026-08-03 expiry -8000',
    '2026-08-03 grant +8000',
    '2026-09-03 expiry -8000',
    '2026-09-03 grant +8000',
    '2026-10-03 expiry -8000',
    '2026-10-03 grant +8000',
    '2026-11-03 expiry -8000',
    '2026-11-03 grant +8000',
    '2026-12-03 expiry -8000',
    '2026-12-03 grant +8000',
    '2027-01-03 expiry -8000',
    '2027-01-03 grant +8000',
    '2027-02-03 expiry -8000',
    '2027-02-03 grant +100',
    '2027-02-03 image nano-banana -120',
    'closing 4980',
  ]);
  await ada.audited();
}, 180_000);
