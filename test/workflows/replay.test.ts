import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { dataConverter } from '../../workflows/payloads';

/**
 * Workflows that began under older code must go on under today's: recorded histories are replayed against the built
 * bundle. A failure here means that running generations would stop; add a `patched` branch instead of recording anew.
 */

const HISTORIES = path.join(__dirname, 'histories');
const BUNDLE = path.join(__dirname, '..', '..', 'dist', 'workflow-bundle.js');
beforeAll(() => Runtime.install({ logger: new DefaultLogger('WARN') }));

const names = readdirSync(HISTORIES).filter((name) => name.endsWith('.json'));

test('there are histories of every way a generation, an account, a test clock and a sweep can go', () => {
  expect(names.toSorted()).toEqual([
    'account-purchase.json',
    'account-renewal.json',
    'clock-advance.json',
    'generation-canceled.json',
    'generation-deadline.json',
    'generation-failed.json',
    'generation-phases.json',
    'generation-refused.json',
    'generation-succeeded.json',
    'generation-timeout.json',
    'generation-unchecked-reports.json',
    'sweep-freed.json',
    'sweep-lost-namespace.json',
    'sweep-pass.json',
    'sweep-rings.json',
    'sweep-stopped.json',
  ]);
});

test.each(names)('%s replays without a difference', async (name) => {
  const history: unknown = JSON.parse(readFileSync(path.join(HISTORIES, name), 'utf8'));
  const replay = Worker.runReplayHistory({ workflowBundle: { codePath: BUNDLE }, dataConverter }, history);
  await expect(replay).resolves.toBeUndefined();
});

test('a history that does not fit the code is noticed', async () => {
  const text = readFileSync(path.join(HISTORIES, 'generation-succeeded.json'), 'utf8');
  const history: unknown = JSON.parse(text.replaceAll('"submitWork"', '"somethingElse"'));
  await expect(
    Worker.runReplayHistory({ workflowBundle: { codePath: BUNDLE }, dataConverter }, history),
  ).rejects.toThrow(/[Nn]ondeterminism/);
});
