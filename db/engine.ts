import { type CatalogStore, createCatalogStore } from './catalogs/catalogs';
import type { Database } from './connection/connection';
import { createLeases, type Leases } from './reserve/lease';
import { createLedger, type Ledger, type LedgerDeps } from './ledger/ledger';
import { createReservations, type ReservationDeps, type Reservations } from './reserve/generation';
import { defined } from '../domain/defined';

export interface Engine {
  catalogs: CatalogStore;
  ledger: Ledger;
  reservations: Reservations;
  leases: Leases;
}

export interface EngineDeps extends Pick<ReservationDeps, 'namespaceId' | 'temporalUrl'> {
  database: Database;
  /** Wakes the account's workflow. */
  ring: (account: string) => void;
  batching?: LedgerDeps['batching'];
  /** HOLDFAST_MODE; by default not live. */
  isLive?: boolean;
}

/** One of each per process: API and worker stand on the same ones. */
export function createEngine(deps: EngineDeps): Engine {
  const { database, ring, namespaceId, temporalUrl, batching, isLive = false } = deps;
  const catalogs = createCatalogStore(database);
  const ledger = createLedger({
    pool: database.pool,
    catalogs,
    ring,
    ...defined({ batching }),
  });
  const reservations = createReservations({
    ledger,
    catalogs,
    knex: database.knex,
    namespaceId,
    temporalUrl,
    isLive,
  });
  const leases = createLeases({ ledger, catalogs, knex: database.knex });
  return { catalogs, ledger, reservations, leases };
}
