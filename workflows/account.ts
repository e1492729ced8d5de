import {
  allHandlersFinished,
  condition,
  makeContinueAsNewFunc,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { DrainedInbox, SeenPurchase, SettledAccount } from '../activities/types';
import { type AccountInput, accountTaskQueue } from '../domain/contract';
import { ringSignal } from './common/messages';
import { accountOn } from './common/proxies';

/** However far the next boundary is: look now and then, so that a moved clock or new code is noticed. */
const LONGEST_SLEEP_MS = 30 * 24 * 3_600_000;

const NEVER = Number.POSITIVE_INFINITY;

/** Characters of an error that are shown. */
const MAX_ERROR = 300;

/**
 * One per account. It owns when, never how much: it sleeps until the account's next boundary, has it settled,
 * and sleeps again. It also works through the account's inbox: a signal only wakes it, the work is rows of the inbox.
 * An account with nothing ahead of it needs no workflow; the next touch that does rings one up.
 */
export async function accountWorkflow({ account }: AccountInput): Promise<void> {
  const activities = accountOn();
  let rung = true;
  setHandler(
    ringSignal,
    () => {
      rung = true;
    },
    { description: 'There is work in the inbox, or the next boundary moved' },
  );

  let settled: SettledAccount | null = null;
  for (;;) {
    rung = false;
    const drained = await activities.drainInbox({ account });
    tell(account, { drained, settled });
    settled = await activities.settleAccount({ account });
    tell(account, { drained, settled });
    const { sleepMs, quietMs } = settled;
    const boundaryMs = sleepMs ?? NEVER;
    const inboxMs = drained.nextMs ?? NEVER;
    const nextMs = Math.min(boundaryMs, inboxMs);
    const retries = inboxMs < NEVER && inboxMs <= boundaryMs;
    // Whoever rang while we worked may have put a row behind our back.
    if (!rung && nextMs > 0) {
      await condition(() => rung, Math.min(nextMs === NEVER ? quietMs : nextMs, LONGEST_SLEEP_MS), {
        summary: retries
          ? 'until a row of the inbox is tried again'
          : nextMs === NEVER
            ? 'quiet time'
            : 'until the next boundary',
      });
    }
    if (rung || retries) {
      if (workflowInfo().continueAsNewSuggested) break;
      continue;
    }
    if (nextMs === NEVER) return; // the server refuses to close over a signal that has just come in
    break; // a boundary has come: a fresh run keeps every history short
  }
  await condition(allHandlersFinished);
  const taskQueue = accountTaskQueue(workflowInfo().taskQueue);
  await makeContinueAsNewFunc<typeof accountWorkflow>({ taskQueue })({ account });
}

/** What an operator reads in the Temporal UI: the plan, what comes next, and what was bought and became of it. */
function tell(
  account: string,
  { drained, settled }: { drained: DrainedInbox; settled: SettledAccount | null },
): void {
  const { purchases = [] } = drained;
  const waiting = purchases.filter(({ grantedAt }) => grantedAt === null);
  const facts = [
    ['account', `\`${account}\``],
    ['plan', settled?.plan ?? '-'],
    // An answer from a worker of an older release lacks this.
    ['next boundary', settled?.nextAt === null ? 'nothing lies ahead' : (settled?.nextAt ?? '-')],
  ];
  setCurrentDetails(
    [
      ...table(['', ''], facts),
      ...(purchases.length === 0 ? [] : ['', ...purchases.map(whatCameOf)]),
      ...(waiting.length === 0 ? [] : ['', ...waiting.map(whyItWaits)]),
    ].join('\n'),
  );
}

/** The verdict first: the UI cuts what is long. */
function whatCameOf({ purchase, quantity, pack, credits, receivedAt, grantedAt }: SeenPurchase): string {
  const verdict = grantedAt === null ? '**waits**' : `granted ${grantedAt}`;
  return `- ${verdict}: ${credits} credits, ${quantity} × ${pack}, accepted ${receivedAt}, \`${purchase}\``;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
}

function whyItWaits({ purchase, attempts, error }: SeenPurchase): string {
  const why = error === null ? '' : `: ${error.replaceAll(/\s+/g, ' ').slice(0, MAX_ERROR)}`;
  return `- \`${purchase}\` was tried ${attempts} times${why}`;
}
