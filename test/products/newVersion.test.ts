import path from 'node:path';
import { readCatalog } from '../../db/catalogs/catalogs';
import { type InUse, inUse, OPENED } from './inUse';

/** Rule 20: what a new version of a catalog changes for accounts that are on it, and from when on. */

const CATALOG = readCatalog(path.join(__dirname, '../support/catalogs/tunesmith.json'));

let product: InUse;
beforeAll(async () => {
  product = await inUse(CATALOG);
});
afterAll(() => product.engine.stop());

/** Songs at twice the price, half the plan's credits, packs spent before them, and nothing comes back to either. */
function dearer() {
  const next = structuredClone(CATALOG);
  for (const rate of next.actions[0]?.models[0]?.rates ?? []) rate.credits *= 2;
  for (const plan of next.plans) if (plan.allotments['plan'] !== undefined) plan.allotments['plan'] /= 2;
  for (const bucket of next.buckets) {
    bucket.onReturn = 'forfeit';
    if (bucket.bucket !== 'daily') bucket.rank = bucket.bucket === 'pack' ? 2 : 3;
  }
  return { ...next, assertions: [] };
}

test('A new version prices the next unquoted request; holds and quotes keep theirs, lots what they were granted with, allotments the slot.', async () => {
  const { engine, open, buy, quote, charge, moveClock, left } = product;
  const song = { action: 'song', params: { seconds: 60 } };
  const account = await open('composer');
  await buy(account, 'fifty');
  await charge(account, { credits: 12 }); // the day's
  const { body: running } = await engine.generate({
    account,
    ...song,
    provider: { type: 'external', deadlineSeconds: 600 },
  });
  const quoted = await quote(account, song);
  const published = await engine.call<{ version: number }>('POST', '/v1/catalogs', {
    body: { ...dearer(), effectiveAt: OPENED }, // on the account's own clock
  });
  expect([published.status, published.body.version]).toEqual([201, 2]);

  const done = await engine.call('POST', `/v1/generations/${running.id}/complete`, {
    body: { outputs: [{}] },
  });
  expect(done.body).toMatchObject({ catalogVersion: 1, credits: { quoted: 7.5, captured: 7.5 } });
  const pinned = await engine.generate({ account, ...song, quote: quoted.id });
  expect(pinned.body).toMatchObject({ catalogVersion: 1, credits: { quoted: 7.5 } });
  const next = await engine.generate({ account, ...song });
  expect(next.body).toMatchObject({ catalogVersion: 2, credits: { quoted: 15 } });
  // The pack's lot would come first by the new ranks; the plan's was granted with the old ones.
  expect(next.body.draws).toEqual([{ bucket: 'plan', credits: 15 }]);

  await moveClock(account, '2026-03-31T10:00:00Z');
  expect(await left(account)).toEqual({ daily: 12, plan: 610, pack: 50 });
  await moveClock(account, '2026-04-10T10:00:00Z');
  expect(await left(account)).toEqual({ daily: 12, plan: 320, pack: 50 });
});
