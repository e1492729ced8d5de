import {
  allHandlersFinished,
  condition,
  defineUpdate,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
} from '@temporalio/workflow';
import type { BareActivities } from './bareWorker';

/** What Temporal alone costs for a generation's shape: every step is there, and every step is empty. */

const local = proxyLocalActivities<BareActivities>({ startToCloseTimeout: '4s' });

export async function bareWorkflow({ providerQueue }: { providerQueue: string }): Promise<void> {
  let reserved = false;
  setHandler(defineUpdate<boolean>('reserve'), async () => {
    await condition(() => reserved);
    return reserved;
  });
  await local.nothing();
  reserved = true;
  // On a queue of its own, as every provider of ours is: never dispatched eagerly.
  const provider = proxyActivities<BareActivities>({ taskQueue: providerQueue, startToCloseTimeout: '2m' });
  await provider.nothing();
  await local.nothing();
  await condition(allHandlersFinished);
}
