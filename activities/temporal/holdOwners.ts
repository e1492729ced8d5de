import { Client } from '@temporalio/client';
import { type FoundNamespace, findNamespace } from './connect';
import { dataConverter } from './payloads';

/** For API and worker, outside the sandbox: where the workflow of a hold is: in the Temporal namespace that stands on the hold, which need not be our own (rule 17). */

export interface HoldOwners {
  /**
   * The client of the namespace on the generation's hold; our own where it has none. `not_found`: the server knows no such
   * namespace. `unclear`: it cannot be asked. The caller sets the deadline.
   */
  clientOf(generation: string): Promise<OwnerClient>;
  /** The same for a namespace's id. */
  clientIn(namespaceId: string): Promise<OwnerClient>;
}

export type OwnerClient = { kind: 'found'; client: Client } | Exclude<FoundNamespace, { kind: 'found' }>;

export interface HoldOwnersDeps {
  client: Client;
  /** The Temporal namespace on a generation's hold, by its id; null: it has none. */
  namespaceOf: (generation: string) => Promise<string | null>;
}

/** Namespaces in use side by side; an id keeps its meaning, so what is known of one stays true. */
const MOST_KNOWN = 100;

export function createHoldOwners({ client, namespaceOf }: HoldOwnersDeps): HoldOwners {
  const known = new Map<string, Client>();

  async function clientIn(namespaceId: string): Promise<OwnerClient> {
    const ready = known.get(namespaceId);
    if (ready !== undefined) return { kind: 'found', client: ready };
    const found = await findNamespace(client, namespaceId);
    if (found.kind !== 'found') return found;
    const { name } = found;
    const theirs =
      name === client.options.namespace
        ? client
        : new Client({ connection: client.connection, namespace: name, dataConverter });
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(namespaceId, theirs);
    return { kind: 'found', client: theirs };
  }

  return {
    clientIn,
    async clientOf(generation) {
      const namespaceId = await namespaceOf(generation);
      return namespaceId === null ? { kind: 'found', client } : clientIn(namespaceId);
    },
  };
}
