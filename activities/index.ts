import { type AccountDeps, createAccountActivities } from './account';
import { createGenerationActivities, type GenerationDeps } from './generation';
import { createSimulatedProvider, type SimulatedDeps } from './providers/simulated';
import type { AccountActivities, LedgerActivities, ProviderActivities } from './types';

export type ActivityDeps = GenerationDeps & AccountDeps & SimulatedDeps;

/** Everything the worker registers, by task queue: ours on the main queue, each provider on its own. */
export function createActivities(deps: ActivityDeps): {
  main: LedgerActivities & AccountActivities;
  simulated: ProviderActivities;
} {
  return {
    main: { ...createGenerationActivities(deps), ...createAccountActivities(deps) },
    simulated: createSimulatedProvider(deps),
  };
}
