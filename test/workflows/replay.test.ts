import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { dataConverter } from '../../activities/temporal/payloads';

/**
 * Workflows that began under older code must continue under today's: recorded histories are replayed against the built
 * bundle. A failure here means that running generations would stop; add a `patched` branch instead of recording again.
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
    'generation-doomed.json',
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

/** The same history with another answer of the provider's. */
function answering(history: string, change: (state: Record<string, unknown>) => void): unknown {
  return JSON.parse(history, (name, value: unknown) => {
    if (name !== 'data' || typeof value !== 'string') return value;
    const text = Buffer.from(value, 'base64').toString('utf8');
    if (!text.startsWith('{"state":')) return value;
    const state = JSON.parse(text) as Record<string, unknown>;
    change(state);
    return Buffer.from(JSON.stringify(state)).toString('base64');
  });
}

test('a run continues whose provider answered, before answers were checked, what is refused today', async () => {
  const odd = {
    // Text where a number is due: it was compared as one.
    'generation-timeout': (state: Record<string, unknown>) => {
      if (state['state'] === 'pending') state['giveUpAfterMs'] = String(state['giveUpAfterMs']);
    },
    // Null for what is left out, and outputs without a place.
    'generation-succeeded': (state: Record<string, unknown>) => {
      if (state['state'] === 'done')
        Object.assign(state, { outputs: [{ status: 'made', url: null, error: null }], providerCost: null });
    },
  };
  for (const [name, change] of Object.entries(odd)) {
    const text = readFileSync(path.join(HISTORIES, `${name}.json`), 'utf8');
    const history = answering(text, change);
    expect(history).not.toEqual(JSON.parse(text));
    const replay = Worker.runReplayHistory({ workflowBundle: { codePath: BUNDLE }, dataConverter }, history);
    await expect(replay).resolves.toBeUndefined();
  }
});

test('a history that does not fit the code is noticed', async () => {
  const text = readFileSync(path.join(HISTORIES, 'generation-succeeded.json'), 'utf8');
  const history: unknown = JSON.parse(text.replaceAll('"submitWork"', '"somethingElse"'));
  await expect(
    Worker.runReplayHistory({ workflowBundle: { codePath: BUNDLE }, dataConverter }, history),
  ).rejects.toThrow(/[Nn]ondeterminism/);
});
