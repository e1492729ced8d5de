import {
  allHandlersFinished,
  condition,
  continueAsNew,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { AccountInput } from './contract';
import { ringSignal } from './messages';
import { account as activities } from './proxies';

/** However far the next boundary is: look now and then, so that a moved clock or new code is noticed. */
const LONGEST_SLEEP_MS = 30 * 24 * 3_600_000;

/**
 * One per account. It owns when, never how much: it sleeps until the account's next boundary, has it settled,
 * and sleeps again. It is also the account's mailbox: signals are doorbells, the work is rows of the inbox.
 * An account with nothing ahead of it needs no workflow; the next touch that does rings one up.
 */
export async function accountWorkflow({ account }: AccountInput): Promise<void> {
  let rung = true;
  setHandler(
    ringSignal,
    () => {
      rung = true;
    },
    { description: 'There is work in the inbox, or the next boundary moved' },
  );

  for (;;) {
    rung = false;
    await activities.drainInbox({ account });
    const { sleepMs, quietMs } = await activities.settleAccount({ account });
    if (rung) continue; // whoever rang while we worked may have put a row behind our back
    const restMs = Math.min(sleepMs ?? quietMs, LONGEST_SLEEP_MS);
    await condition(() => rung, restMs, {
      summary: sleepMs === null ? 'quiet time' : 'until the next boundary',
    });
    if (rung) {
      if (workflowInfo().continueAsNewSuggested) break;
      continue;
    }
    if (sleepMs === null) return; // the server refuses to close over a signal that has just come in
    break; // a boundary has come: a fresh run keeps every history short
  }
  await condition(allHandlersFinished);
  await continueAsNew<typeof accountWorkflow>({ account });
}
