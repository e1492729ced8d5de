import { heartbeat, sleep } from '@temporalio/activity';
import type { Knex } from 'knex';
import type { Ledger } from '../../db/ledger/ledger';
import { claimJob, findJob, noteOnJob, type ProviderJob } from '../../db/generations/providerJobs';
import type { Output } from '../../domain/contract';
import type { ProviderActivities, Work, WorkState } from '../types';

/**
 * A provider without a model: it takes the time it is told to, and fails the way it is told to. Its jobs
 * are rows, so it has the memory a real provider has: asked again, also by a new run, it knows the job.
 */
export interface SimulatedDeps {
  ledger: Ledger;
  knex: Knex;
  /** The namespace that this worker's workflows run in. */
  namespaceId: string;
  /** Ends this worker process at once, as a crash would. */
  crash: () => void;
}

interface Behaviour {
  delayMs: number;
  fail: 'error' | 'timeout' | 'crash-once' | null;
  deliver: number;
}

const PHASE = 'work';
/** A provider that never answers is given up after this long, unless the request says otherwise. */
const TIMEOUT_MS = 5_000;
/** Shorter waits are done in place: a poll costs more than it frees. */
const SHORT_MS = 1_000;

export function createSimulatedProvider({
  ledger,
  knex,
  namespaceId,
  crash,
}: SimulatedDeps): ProviderActivities {
  return {
    async submitWork({ work }) {
      // Rule 5: no submission without an open hold, and one job per hold and phase.
      const { account, holdId, generation } = work;
      const run = { account, holdId, workflowId: generation, namespaceId }; // a generation's id is its workflow's
      if (!(await ledger.assertHoldOpen(run))) return { state: 'hold_closed' };
      const job = await claimJob(knex, { ...jobKey(work), provider: 'simulated' });
      const behaviour = behaviourOf(work);
      if (behaviour.fail === 'crash-once' && job.state['crashed'] !== true) {
        await noteOnJob(knex, jobKey(work), { crashed: true });
        crash();
      }
      const state = stateOf({ work, job, behaviour });
      if (state.state !== 'pending' || state.pollAfterMs > SHORT_MS || behaviour.fail === 'timeout')
        return state;
      heartbeat();
      await sleep(state.pollAfterMs);
      return stateOf({ work, job, behaviour });
    },

    async pollWork({ work }) {
      const job = await findJob(knex, jobKey(work));
      if (job === undefined) throw new Error(`the simulated provider has no job for ${work.holdId}`);
      return stateOf({ work, job, behaviour: behaviourOf(work) });
    },

    async cancelWork({ work, by }) {
      await noteOnJob(knex, jobKey(work), { canceledBy: by });
    },
  };
}

function stateOf(options: { work: Work; job: ProviderJob; behaviour: Behaviour }): WorkState {
  const { work, job, behaviour } = options;
  const leftMs = job.claimedAt.getTime() + behaviour.delayMs - Date.now();
  if (behaviour.fail === 'timeout') {
    const giveUpAfterMs = behaviour.delayMs === 0 ? TIMEOUT_MS : behaviour.delayMs;
    return { state: 'pending', pollAfterMs: giveUpAfterMs, giveUpAfterMs };
  }
  if (leftMs > 0) return { state: 'pending', pollAfterMs: leftMs };
  if (behaviour.fail === 'error') {
    return {
      state: 'failed',
      error: { code: 'provider_error', message: 'The simulated provider was told to fail.' },
    };
  }
  const outputs = Array.from(
    { length: behaviour.deliver },
    (_, index): Output => ({ index, status: 'succeeded', url: `simulated://${work.generation}/${index}` }),
  );
  return { state: 'done', outputs };
}

function behaviourOf({ provider, ordered }: Work): Behaviour {
  const { delayMs, fail, deliver } = provider;
  return {
    delayMs: typeof delayMs === 'number' ? delayMs : 0,
    fail: fail === 'error' || fail === 'timeout' || fail === 'crash-once' ? fail : null,
    deliver: typeof deliver === 'number' ? Math.min(deliver, ordered) : ordered,
  };
}

function jobKey({ account, holdId }: Work) {
  return { account, holdId, phase: PHASE };
}
