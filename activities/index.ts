import { type AccountDeps, createAccountActivities } from './account';
import { createGenerationActivities, type GenerationDeps } from './generation';
import { createSimulatedProvider, type SimulatedDeps } from './providers/simulated';
import { createSweepActivities, type SweepDeps } from './sweep';
import type { AccountActivities, LedgerActivities, ProviderActivities, SweepActivities } from './types';

export type ActivityDeps = GenerationDeps & AccountDeps & SweepDeps & SimulatedDeps;

/** Everything the worker registers, by task queue: generations on the main one, accounts and each provider on their own. */
export function createActivities(deps: ActivityDeps): {
  main: LedgerActivities & AccountActivities & SweepActivities;
  accounts: AccountActivities & SweepActivities;
  simulated: ProviderActivities;
} {
  const accounts = { ...createAccountActivities(deps), ...createSweepActivities(deps) };
  return {
    // A sweep started by hand, or an account of before it had a queue of its own, may run on the main queue.
    main: { ...createGenerationActivities(deps), ...accounts },
    accounts,
    simulated: createSimulatedProvider(deps),
  };
}
