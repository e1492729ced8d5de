import path from 'node:path';
import { publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { testDatabase } from '../../support/database';
import { type Engine, type Problem, startEngine } from '../../support/processes/engine';

/** Draftly's full site through the running engine: one hold, phases captured as they land, the rest given back. */

let engine: Engine;

beforeAll(async () => {
  const database = await testDatabase();
  const catalog = readCatalog(path.join(__dirname, '../../../catalogs/draftly.json'));
  await publishCatalog(database.db.knex, { catalog });
  engine = await startEngine({ database });
});
afterAll(() => engine.stop());

async function basicAccount(): Promise<string> {
  const id = engine.newId('draftly');
  await engine.call('POST', '/v1/accounts', { body: { id, catalog: 'draftly', plan: 'basic' } });
  return id;
}

test('a site holds 600 credits, pays its phases as they land, and gives the rest back: 282 in all', async () => {
  const account = await basicAccount();
  const { body: site } = await engine.generate({ account, action: 'site' });
  expect(site.credits).toMatchObject({ quoted: 600, held: 600 });
  const report = (phase: string, credits: number, final: boolean) =>
    engine.call('POST', `/v1/generations/${site.id}/complete`, {
      body: { outputs: [{ url: `https://example.com/${phase}` }], credits, phase, final },
    });
  expect((await report('hero-image', 18, false)).body.credits).toMatchObject({ held: 582, captured: 18 });
  expect((await report('motion-video', 256, false)).body.credits).toMatchObject({ held: 326, captured: 274 });
  expect((await report('html', 8, true)).body.credits).toMatchObject({
    held: 0,
    captured: 282,
    refunded: 318,
  });
  expect((await engine.balance(account)).available).toBe(1500 - 282);
});

test('a full regeneration is warned of first: without a confirmation the answer is its quote', async () => {
  const account = await basicAccount();
  const asked = await engine.generate<Problem & { quote: unknown }>({ account, action: 'site-regeneration' });
  expect([asked.status, asked.body.code]).toEqual([409, 'confirmation_required']);
  expect(asked.body.quote).toMatchObject({ credits: 282, ceiling: 600, needsConfirmation: true });
  expect((await engine.balance(account)).held).toBe(0);
});

test('a site that is reported whole, without an amount, costs what was planned and not the ceiling', async () => {
  const account = await basicAccount();
  const { body: site } = await engine.generate({ account, action: 'site' });
  const { body } = await engine.call('POST', `/v1/generations/${site.id}/complete`, {
    body: { outputs: [{ url: 'https://example.com/site' }] },
  });
  expect(body.credits).toMatchObject({ held: 0, captured: 282, refunded: 318 });
});
