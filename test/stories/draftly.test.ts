import { type Engine, startEngine } from '../support/processes/engine';
import { beginYear } from '../support/processes/year';

/** A year on Draftly: Basic, then Pro in mid-cycle, what is left carried, and down again. */

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());

test('Basic → Pro in mid-cycle, with what is left carried → Basic again at the end of a period', async () => {
  const dan = await beginYear(engine, { catalog: 'draftly', from: '2026-05-15T08:00:00.000Z' });

  // Ten credits to look around with: one image, and Pro's models are not for him.
  expect(await dan.make({ action: 'image', model: 'gemini-2.5-flash' })).toBe('succeeded: 8');
  expect(await dan.refused({ action: 'image', model: 'flux-pro' })).toMatchObject({ requiredPlan: 'pro' });

  // In June he takes Basic. His cycle begins with it; the ten of his free month end when they would have.
  await dan.until('2026-06-20T12:00:00.000Z');
  expect(await dan.credits()).toEqual({ plan: 10 });
  await dan.post('plan', { plan: 'basic' });
  expect(await dan.credits()).toEqual({ plan: 1510 });

  // A site: the ceiling is held, what the phases cost is paid, and the rest comes back.
  expect(await dan.make({ action: 'site' })).toBe('succeeded: 282');
  expect(await dan.make({ action: 'site' })).toBe('succeeded: 282');
  expect(await dan.refused({ action: 'site' })).toMatchObject({ code: 'quota_reached', limit: 2 });
  expect(await dan.make({ action: 'chat-edit' })).toBe('succeeded: 0.5');
  expect(await dan.credits()).toEqual({ plan: 945.5 });

  // On 5 July he upgrades to Pro: 945.5 stay, and he gets what Pro gives more, 6,000 less 1,500. The cycle continues.
  await dan.until('2026-07-05T12:00:00.000Z');
  const preview = await dan.post<Record<string, unknown>>('plan/preview', { plan: 'pro' });
  expect(preview.body).toMatchObject({ creditsNow: 4500, carried: 945.5, dueNow: 17.5 });
  await dan.post('plan', { plan: 'pro' });
  expect(await dan.credits()).toEqual({ plan: 5445.5 });
  expect(await dan.make({ action: 'image', model: 'flux-pro' })).toBe('succeeded: 16');

  // At the reset everything that is left ends, also what was carried, and Pro's month begins.
  await dan.until('2026-07-20T12:00:00.000Z');
  expect(await dan.credits()).toEqual({ plan: 6000 });

  // A quiet autumn. On 1 October he goes down to Basic, which comes with the end of his period.
  await dan.until('2026-10-01T00:00:00.000Z');
  await dan.post('plan', { plan: 'basic' });
  expect(await dan.credits()).toEqual({ plan: 6000 });
  await dan.until('2026-10-20T12:00:00.000Z');
  expect(await dan.credits()).toEqual({ plan: 1500 });

  // He buys a pack for one large job; it lasts into the next month, the plan's credits do not.
  await dan.buy('credits-1000');
  expect(await dan.make({ action: 'video', model: 'veo-3.1-standard', params: { seconds: 60 } })).toBe(
    'succeeded: 1920',
  );
  expect(await dan.credits()).toEqual({ pack: 580 });
  await dan.until('2027-05-15T08:00:00.000Z');
  expect(await dan.credits()).toEqual({ plan: 1500, pack: 580 });

  expect(await dan.statement()).toEqual([
    'opening 0',
    '2026-05-15 grant +10',
    '2026-05-15 image gemini-2.5-flash -8',
    '2026-06-15 expiry -2',
    '2026-06-15 grant +10',
    '2026-06-20 grant +1500',
    '2026-06-20 site -282',
    '2026-06-20 site -282',
    '2026-06-20 chat-edit standard -0.5',
    '2026-07-05 grant +4500',
    '2026-07-05 image flux-pro -16',
    '2026-07-20 expiry -929.5',
    '2026-07-20 expiry -4500',
    '2026-07-20 grant +6000',
    '2026-08-20 expiry -6000',
    '2026-08-20 grant +6000',
    '2026-09-20 expiry -6000',
    '2026-09-20 grant +6000',
    '2026-10-20 expiry -6000',
    '2026-10-20 grant +1500',
    '2026-10-20 purchase +1000',
    '2026-10-20 video veo-3.1-standard -1920',
    '2026-11-20 grant +1500',
    '2026-12-20 expiry -1500',
    '2026-12-20 grant +1500',
    '2027-01-20 expiry -1500',
    '2027-01-20 grant +1500',
    '2027-02-20 expiry -1500',
    '2027-02-20 grant +1500',
    '2027-03-20 expiry -1500',
    '2027-03-20 grant +1500',
    '2027-04-20 expiry -1500',
    '2027-04-20 grant +1500',
    'closing 2080',
  ]);
  // What he could have been told of until the autumn.
  expect(await dan.told('2026-11-01')).toEqual([
    '2026-05-15 credits.granted 10',
    '2026-06-15 credits.expired 2',
    '2026-06-15 credits.granted 10',
    '2026-06-20 subscription.updated free → basic',
    '2026-06-20 credits.granted 1500',
    '2026-07-05 credits.granted 4500',
    '2026-07-05 subscription.updated basic → pro',
    '2026-07-13 credits.expiring 5429.5',
    '2026-07-20 credits.expired 929.5',
    '2026-07-20 credits.expired 4500',
    '2026-07-20 credits.granted 6000',
    '2026-08-13 credits.expiring 6000',
    '2026-08-20 credits.expired 6000',
    '2026-08-20 credits.granted 6000',
    '2026-09-13 credits.expiring 6000',
    '2026-09-20 credits.expired 6000',
    '2026-09-20 credits.granted 6000',
    '2026-10-01 subscription.updated pro → pro, basic on 2026-10-20',
    '2026-10-13 credits.expiring 6000',
    '2026-10-20 credits.expired 6000',
    '2026-10-20 subscription.updated pro → basic',
    '2026-10-20 credits.granted 1500',
    '2026-10-20 credits.granted 1000',
  ]);
  await dan.audited();
}, 180_000);
