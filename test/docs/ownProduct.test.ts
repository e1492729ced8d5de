import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestDatabase, testDatabase } from '../support/database';
import { type Engine, type Problem, startEngine } from '../support/processes/engine';

/** docs/catalogs.md, “A product of your own”: its example put into `catalogs/` as one file, and nothing else done. */

const ROOT = path.join(__dirname, '../..');
const page = readFileSync(path.join(ROOT, 'docs/catalogs.md'), 'utf8');
const example = /```json\n([\s\S]*?)```/.exec(page)?.[1] ?? '';

let installation: string;
let database: TestDatabase;
let engine: Engine;

/** `npm run migrate` of an installation of the test's own, so that the checkout's folder stays as it is. */
const setUp = () =>
  execFileSync(process.execPath, [path.join(installation, 'dist/db/setup.js')], {
    env: { PATH: process.env['PATH'], DATABASE_URL: database.url },
    encoding: 'utf8',
    stdio: 'pipe',
  });
const file = () => path.join(installation, 'catalogs/sketchbook.json');

beforeAll(async () => {
  database = await testDatabase();
  installation = mkdtempSync(path.join(tmpdir(), 'installation-'));
  // Other tests leave things in dist for a moment.
  const built = ['activities', 'api', 'db', 'domain', 'workflows', 'workflow-bundle.js'];
  for (const part of [...built.map((name) => `dist/${name}`), 'db/migrations', 'catalogs'])
    cpSync(path.join(ROOT, part), path.join(installation, part), { recursive: true });
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(installation, 'node_modules'));
  writeFileSync(file(), example);
});
afterAll(async () => {
  await engine.stop();
  rmSync(installation, { recursive: true });
});

test('the file is published beside the four products, and runs from the first account on', async () => {
  expect(setUp()).toContain('catalog sketchbook: version 1 published');
  expect(setUp()).toContain('catalog sketchbook: version 1, unchanged');
  engine = await startEngine({ database });

  const account = engine.newId('own');
  // A clock that stands, lest midnight bring new credits in between; tomorrow's, for then the file is in force.
  const frozenAt = new Date(Date.now() + 86_400_000).toISOString();
  const { body: clock } = await engine.call<{ id: string }>('POST', '/v1/test-clocks', {
    body: { frozenAt },
  });
  const opened = await engine.call<{ plan: string; catalog: string }>('POST', '/v1/accounts', {
    body: { id: account, catalog: 'sketchbook', testClock: clock.id },
  });
  expect([opened.status, opened.body]).toMatchObject([201, { catalog: 'sketchbook', plan: 'free' }]);
  expect((await engine.balance(account)).available).toBe(20);

  const { body: prices } = await engine.call<{
    data: { action: string; models: { variants: { credits: number; reason: string | null }[] }[] }[];
  }>('GET', `/v1/accounts/${account}/prices`);
  expect(
    prices.data.map(({ action, models }) => [
      action,
      ...models.flatMap(({ variants }) => variants.map(({ credits, reason }) => [credits, reason])),
    ]),
  ).toEqual([
    ['image', [4, null], [6.5, 'plan_required']],
    ['video', [48, 'plan_required'], [96, 'plan_required']],
    ['book', [12, null], [14.5, 'plan_required']],
    ['rename'],
  ]);

  const { body: image } = await engine.generate({ account, action: 'image', params: { outputs: 2 } });
  expect(await engine.ended(image.id)).toMatchObject({ status: 'succeeded', credits: { captured: 8 } });
  expect((await engine.generate({ account, action: 'rename' })).body.status).toBe('succeeded');
  expect((await engine.balance(account)).available).toBe(12);

  const refused = await engine.generate<Problem>({ account, action: 'video', confirm: true });
  expect([refused.status, refused.body.requiredPlan]).toEqual([403, 'artist']);
  const dear = await engine.generate<Problem & { paywall: { packs: unknown[] } }>({
    account,
    action: 'book',
  });
  expect([dear.status, dear.body.required, dear.body.shortfall]).toEqual([402, 20, 8]);
  expect(dear.body.paywall).toMatchObject({
    ways: ['buy_pack', 'upgrade', 'wait'],
    packs: [{ pack: 'small', covers: true }],
    waitSuffices: true,
  });
});

test('a subscriber’s Pro video is not paid with free credits, and a book’s phases are captured as they land', async () => {
  const account = engine.newId('artist');
  await engine.call('POST', '/v1/accounts', { body: { id: account, catalog: 'sketchbook', plan: 'artist' } });
  const asked = { account, action: 'video', params: { seconds: 8 } };
  expect((await engine.generate<Problem>(asked)).body.code).toBe('confirmation_required');
  const { body: video } = await engine.generate({ ...asked, confirm: true });
  expect(video.draws).toEqual([{ bucket: 'plan', credits: 96 }]);

  const { body: book } = await engine.generate({ account, action: 'book', params: { cover: '2K' } });
  expect(book.credits).toMatchObject({ quoted: 20, held: 20 });
  const report = (phase: string, credits: number, final: boolean) =>
    engine.call('POST', `/v1/generations/${book.id}/complete`, {
      body: { outputs: [{}], phase, credits, final },
    });
  await report('cover', 6.5, false);
  expect((await report('text', 8, true)).body.credits).toMatchObject({ captured: 14.5, refunded: 5.5 });
});

test('a file with a mistake is not published; the error names the file and the path, and says what must be there', () => {
  writeFileSync(file(), example.replace('"minimumPlan": "artist"', '"minimumPlan": "artisan"'));
  const where = 'actions.0.models.0.rates.1.minimumPlan: there is no plan artisan';
  expect(setUp).toThrow(`${file()} is not a valid catalog: ${where}`);
});
