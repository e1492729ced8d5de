import type { PROVIDERS } from '../domain/catalog/providers';
import { type AccountDeps, createAccountActivities } from './account';
import { createClockActivities } from './clock';
import { createGenerationActivities, type GenerationDeps } from './generation';
import { createSimulatedProvider, type SimulatedDeps } from './providers/simulated';
import { createSweepActivities, type SweepDeps } from './sweep';
import type {
  AccountActivities,
  ClockActivities,
  LedgerActivities,
  ProviderActivities,
  SweepActivities,
} from './types';

export type ActivityDeps = GenerationDeps & AccountDeps & SweepDeps & SimulatedDeps;

/** Everything the worker registers, by task queue: generations on the main one, accounts and each provider on their own. */
export function createActivities(deps: ActivityDeps): {
  main: LedgerActivities & AccountActivities & SweepActivities & ClockActivities;
  accounts: AccountActivities & SweepActivities;
  /** By the type that catalogs and requests name; each has a queue of its own. */
  providers: Record<Exclude<(typeof PROVIDERS)[number], 'external'>, ProviderActivities>;
} {
  const account = createAccountActivities(deps);
  const accounts = { ...account, ...createSweepActivities(deps) };
  const clock = createClockActivities({ ...deps, drainInbox: (inbox) => account.drainInbox(inbox) });
  return {
    // A sweep started by hand, or an account of before it had a queue of its own, may run on the main queue.
    main: { ...createGenerationActivities(deps), ...accounts, ...clock },
    accounts,
    providers: { simulated: createSimulatedProvider(deps) },
  };
}
