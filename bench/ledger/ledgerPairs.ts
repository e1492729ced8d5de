import { randomUUID } from 'node:crypto';
import { createCatalogStore } from '../../db/catalogs/catalogs';
import { openDatabase } from '../../db/connection/connection';
import { createLedger } from '../../db/ledger/ledger';
import { createReservations } from '../../db/reserve/generation';
import { generationId, holdIdOf } from '../../domain/ids';
import type { AtEnd, Work } from '../bare/bare';
import { ORDER } from '../generations';

export interface PairOptions {
  databaseUrl: string;
  accounts: readonly string[];
  /** One connection for each, as pgbench has. */
  clients: number;
  atEnd: AtEnd;
}

/** A unit is one reserve and one capture, through the code that the worker's activities call, each its own commit. */
export function ledgerPairs({ databaseUrl, accounts, clients, atEnd }: PairOptions): Work {
  const database = openDatabase({ url: databaseUrl, max: clients, applicationName: 'holdfast bench' });
  const catalogs = createCatalogStore(database);
  const ledger = createLedger({ pool: database.pool, catalogs, ring: () => undefined });
  const reservations = createReservations({
    isLive: false,
    ledger,
    catalogs,
    knex: database.knex,
    namespaceId: 'bench',
    temporalUrl: () => null,
  });

  atEnd(() => database.close());

  return async (client) => {
    const account = accounts[client % accounts.length];
    if (account === undefined) throw new RangeError('there are no accounts to bench on');
    const key = randomUUID();
    const workflowId = generationId(account, key);
    const holdId = holdIdOf(workflowId);
    const request = { ...ORDER, provider: { ...ORDER.provider } };
    const input = { account, key, request, mayChooseProvider: true };
    const reserved = await reservations.reserve({ input, arrivedMs: performance.now(), workflowId });
    if (reserved.kind !== 'answered' || !reserved.holdOpen)
      throw new Error(`the reservation ended as ${reserved.kind}`);
    const captured = await ledger.run(account, {
      op: 'capture',
      key: `sys:capture:${holdId}:final`,
      hash: 'bench',
      holdId,
      delivered: 1,
      ordered: 1,
      final: true,
      cause: 'provider',
      generation: { status: 'succeeded', outputs: [], error: null },
    });
    if (captured?.status !== 'applied')
      throw new Error(`the capture ended as ${captured?.status ?? 'unknown account'}`);
  };
}
