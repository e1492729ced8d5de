import { type Engine, startEngine } from '../support/processes/engine';
import { beginYear } from '../support/processes/year';

/** A year of a team on Intangible's Business plan: one pool, an owner and two members. */

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());

test('a Business team spends from one pool, monthly credits first, then what it bought', async () => {
  const team = await beginYear(engine, {
    catalog: 'intangible',
    plan: 'business',
    from: '2026-01-31T15:00:00.000Z',
    timezone: 'America/New_York',
  });
  await team.put('members/olga', { role: 'owner', monthlyLimit: null });
  await team.put('members/max', { role: 'member', monthlyLimit: 500 });
  await team.put('members/mia', { role: 'member', monthlyLimit: null });
  expect(await team.credits()).toEqual({ plan: 8000 });

  // The first month: stills, an edit, and a video. Moving things about costs nothing.
  expect(await team.make({ action: 'image', params: { resolution: '1K', outputs: 4 }, member: 'mia' })).toBe(
    'succeeded: 40',
  );
  expect(await team.make({ action: 'image-edit', member: 'mia' })).toBe('succeeded: 6');
  expect(await team.make({ action: 'move-object', member: 'max' })).toBe('succeeded: 0');
  const video = { action: 'video', params: { seconds: 10, resolution: '1K', audio: false } };
  expect(await team.make({ ...video, member: 'max' })).toBe('succeeded: 300');

  // Max may use 500 a month. The next video would be 300 more: he asks an owner, or waits for the month to end.
  const refused = await team.refused({ ...video, member: 'max' });
  expect(refused).toMatchObject({ code: 'member_limit_reached', limit: 500, used: 300 });
  expect(refused.paywall?.ways).toEqual(['ask_owner', 'wait']);
  expect(await team.make({ ...video, member: 'olga' })).toBe('succeeded: 300');
  expect(await team.credits()).toEqual({ plan: 7354 });

  // Members' limits begin with the calendar month in New York, the team's credits with its cycle.
  await team.until('2026-02-01T05:00:00.000Z');
  expect(await team.make({ ...video, member: 'max' })).toBe('succeeded: 300');
  await team.until('2026-02-28T15:00:00.000Z');
  expect(await team.credits()).toEqual({ plan: 8000 });

  // In April a campaign takes the whole month's credits and 900 that Olga buys.
  await team.until('2026-04-10T00:00:00.000Z');
  await team.buy('pack-900');
  const dearest = { action: 'video', params: { seconds: 10, resolution: '2K', audio: true }, member: 'olga' };
  for (let shots = 0; shots < 7; shots += 1) expect(await team.make(dearest)).toBe('succeeded: 1200');
  expect(await team.credits()).toEqual({ pack: 500 });
  const empty = await team.refused(dearest);
  expect(empty).toMatchObject({
    code: 'insufficient_credits',
    required: 1200,
    available: 500,
    shortfall: 700,
  });
  expect(empty.paywall?.ways).toEqual(['buy_pack', 'upgrade', 'wait']);

  // With the next cycle the month is back. What was bought is still there, and is spent last.
  await team.until('2026-04-30T15:00:00.000Z');
  expect(await team.credits()).toEqual({ plan: 8000, pack: 500 });
  expect(await team.make({ action: '3d-asset', params: { detail: 'high' }, member: 'mia' })).toBe(
    'succeeded: 80',
  );
  expect(await team.credits()).toEqual({ plan: 7920, pack: 500 });

  // The rest of the year passes quietly: the pack stays, no month's credits do.
  await team.until('2027-01-31T15:00:00.000Z');
  expect(await team.credits()).toEqual({ plan: 8000, pack: 500 });
  expect(await team.usage('member')).toEqual({ olga: 8700, max: 600, mia: 126 });

  expect(await team.statement()).toEqual([
    'opening 0',
    '2026-01-31 grant +8000',
    '2026-01-31 image nano-banana -40',
    '2026-01-31 image-edit nano-banana -6',
    '2026-01-31 video veo-3.1 -300',
    '2026-01-31 video veo-3.1 -300',
    '2026-02-01 video veo-3.1 -300',
    '2026-02-28 expiry -7054',
    '2026-02-28 grant +8000',
    '2026-03-31 expiry -8000',
    '2026-03-31 grant +8000',
    '2026-04-10 purchase +900',
    '2026-04-10 video veo-3.1 -1200',
    '2026-04-10 video veo-3.1 -1200',
    '2026-04-10 video veo-3.1 -1200',
    '2026-04-10 video veo-3.1 -1200',
    '2026-04-10 video veo-3.1 -1200',
    '2026-04-10 video veo-3.1 -1200',
    '2026-04-10 video veo-3.1 -1200',
    '2026-04-30 grant +8000',
    '2026-04-30 3d-asset standard -80',
    '2026-05-31 expiry -7920',
    '2026-05-31 grant +8000',
    '2026-06-30 expiry -8000',
    '2026-06-30 grant +8000',
    '2026-07-31 expiry -8000',
    '2026-07-31 grant +8000',
    '2026-08-31 expiry -8000',
    '2026-08-31 grant +8000',
    '2026-09-30 expiry -8000',
    '2026-09-30 grant +8000',
    '2026-10-31 expiry -8000',
    '2026-10-31 grant +8000',
    '2026-11-30 expiry -8000',
    '2026-11-30 grant +8000',
    '2026-12-31 expiry -8000',
    '2026-12-31 grant +8000',
    '2027-01-31 expiry -8000',
    '2027-01-31 grant +8000',
    'closing 8500',
  ]);
  await team.audited();
}, 180_000);
