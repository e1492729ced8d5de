import {
  allHandlersFinished,
  condition,
  continueAsNew,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { ClockStep } from '../activities/types';
import type { ClockInput } from '../domain/contract';
import { ringSignal } from './common/messages';
import { clock as activities } from './common/proxies';

const SHORTEST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * One per test clock, for as long as it advances. It goes through the clock's accounts page by page, and through those
 * that are left again, until none has a boundary due. An account that cannot be settled holds up nobody but itself.
 */
export async function clockWorkflow(input: ClockInput): Promise<void> {
  const { clock } = input;
  let { after = null, failedPasses = 0 } = input;
  let rung = true;
  setHandler(
    ringSignal,
    () => {
      rung = true;
    },
    { description: 'The clock has a new target, or is to look again at once' },
  );

  let failing = 0;
  do {
    rung = false;
    const step = await activities.advancePage({ clock, after });
    tell(step);
    after = step.after;
    failing += step.failing;
    if (after !== null) continue;
    const { ended } = await activities.endAdvance({ clock });
    if (ended && !rung) return; // the server refuses to close over a signal that has just come in
    failedPasses = ended || failing === 0 ? 0 : failedPasses + 1;
    failing = 0;
    if (failedPasses > 0) {
      const pauseMs = Math.min(SHORTEST_PAUSE_MS * 2 ** (failedPasses - 1), LONGEST_PAUSE_MS);
      await condition(() => rung, pauseMs, { summary: 'until those that failed are tried again' });
    }
  } while (!workflowInfo().continueAsNewSuggested);
  await condition(allHandlersFinished);
  await continueAsNew<typeof clockWorkflow>({ clock, after, failedPasses });
}

function tell({ target, accounts, settled, failing }: ClockStep): void {
  const head = '| to | accounts | settled there | failing on this page |\n|---|---|---|---|';
  setCurrentDetails(`${head}\n| ${target} | ${accounts} | ${settled} | ${failing} |`);
}
