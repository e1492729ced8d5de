import { log, patched, sleep } from '@temporalio/workflow';
import type { Work, WorkState } from '../../activities/types';
import { workStateProblem } from '../../domain/generations/states';
import type { Mailbox } from './mailbox';
import { PATCHES } from '../common/patches';
import { providerOn } from '../common/proxies';
import { delivered, isLong, type Outcome, undone, withoutInput } from './work';

/** The last question to a provider gets this long, however little of the work's own time is left. */
const SHORTEST_POLL_MS = 30_000;
/** A customer who cancels waits for the provider no longer than this. */
const STOP_WITHIN_MS = 10_000;

/** Work that an adapter of ours has a provider do: submit, then ask until it is done, holding no worker slot. */
export async function providerWork(options: {
  work: Work;
  mailbox: Mailbox;
  beganMs: number;
}): Promise<Outcome> {
  const { work, mailbox, beganMs } = options;
  const summary = `${work.action} at ${work.provider.type}`;
  let limitMs = work.maxDurationSeconds * 1000;
  const leftMs = () => beganMs + limitMs - Date.now();
  // A run that continues another has only what is left.
  const submitWithinMs = Math.max(leftMs(), Math.min(limitMs, SHORTEST_POLL_MS));
  let step = checked(await providerOn(work, { summary, withinMs: submitWithinMs }).submitWork({ work }));
  while (step.state === 'pending') {
    limitMs = Math.min(limitMs, step.giveUpAfterMs ?? limitMs);
    if (leftMs() <= 0) {
      await stopJob(work, 'engine');
      return undone(work, 'provider', {
        code: 'provider_timeout',
        message: `No result within ${limitMs / 1000} s.`,
      });
    }
    await sleep(Math.min(step.pollAfterMs, leftMs()), { summary: 'until the provider is asked again' });
    if (await isLong({ work, mailbox, acts: false })) return { kind: 'continues' };
    const withinMs = Math.max(leftMs(), SHORTEST_POLL_MS);
    const poll = { work: withoutInput(work) };
    step = checked(await providerOn(work, { summary: `is it done? ${summary}`, withinMs }).pollWork(poll));
  }
  if (step.state === 'done') {
    return delivered(work, {
      outputs: step.outputs,
      ...(step.providerCost && { providerCost: step.providerCost }),
    });
  }
  if (step.state === 'failed') return undone(work, 'provider', step.error);
  if (step.state === 'invalid') {
    await stopJob(work, 'engine');
    return undone(work, 'provider', { code: 'provider_answer_invalid', message: step.problem });
  }
  const gone = { code: 'hold_closed', message: 'The hold was closed before the work was submitted.' };
  return undone(work, 'provider', gone);
}

/** An answer that cannot be worked with ends the work, for it would be the same at every replay. */
function checked(state: WorkState): WorkState | { state: 'invalid'; problem: string } {
  const problem = workStateProblem(state);
  if (problem === null || !patched(PATCHES.providersAreChecked)) return state;
  return { state: 'invalid', problem };
}

/** Tells the provider to stop. If it cannot be told, its result comes late and moves nothing (rule 16). */
export async function stopJob(work: Work, by: 'customer' | 'operator' | 'engine'): Promise<void> {
  try {
    await providerOn(work, { summary: 'cancel the job', withinMs: STOP_WITHIN_MS }).cancelWork({
      work: withoutInput(work),
      by,
    });
  } catch (error) {
    log.warn('the provider could not be told to stop', { generation: work.generation, error });
  }
}
