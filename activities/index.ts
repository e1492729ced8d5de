import { type AccountDeps, createAccountActivities } from './account';
import { createClockActivities } from './clock';
import { createGenerationActivities, type GenerationDeps } from './generation';
import { createSimulatedProvider, type SimulatedDeps } from './providers/simulated';
import type { AccountActivities, ClockActivities, LedgerActivities, ProviderActivities } from './types';

export type ActivityDeps = GenerationDeps & AccountDeps & SimulatedDeps;

/** Everything the worker registers, by task queue: ours on the main queue, each provider on its own. */
export function createActivities(deps: ActivityDeps): {
  main: LedgerActivities & AccountActivities & ClockActivities;
  simulated: ProviderActivities;
} {
  const account = createAccountActivities(deps);
  const clock = createClockActivities({ ...deps, drainInbox: (inbox) => account.drainInbox(inbox) });
  return {
    main: { ...createGenerationActivities(deps), ...account, ...clock },
    simulated: createSimulatedProvider(deps),
  };
}
