import { readFileSync } from 'node:fs';
import type { Client, ConnectionOptions } from '@temporalio/client';
import { accountWorkflowId, clockWorkflowId } from '../domain/ids';
import type { Settings } from '../domain/settings';
import { type AccountInput, type ClockInput, SEARCH_ATTRIBUTES, SIGNALS, WORKFLOWS } from './contract';

/** How our processes reach Temporal. The client side only: workflow code never imports this file. */

/** For `Connection.connect` and `NativeConnection.connect` alike. Reads the certificate files. */
export function connectionOptions({ address, apiKey, tlsFiles }: Settings['temporal']) {
  const { ca, cert, key } = tlsFiles;
  const secure = apiKey !== undefined || ca !== undefined || cert !== undefined;
  const tls = {
    ...(ca === undefined ? {} : { serverRootCACertificate: readFileSync(ca) }),
    ...(cert === undefined || key === undefined
      ? {}
      : { clientCertPair: { crt: readFileSync(cert), key: readFileSync(key) } }),
  };
  return {
    address,
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(secure ? { tls } : {}),
  } satisfies ConnectionOptions;
}

/** Where the Temporal UI shows a workflow; null without a UI. */
export function temporalUrlOf({
  uiUrl,
  namespace,
}: Settings['temporal']): (workflowId: string) => string | null {
  if (uiUrl === undefined) return () => null;
  const base = uiUrl.replace(/\/$/, '');
  return (workflowId) => `${base}/namespaces/${namespace}/workflows/${encodeURIComponent(workflowId)}`;
}

/** Rings an account's doorbell, starting its workflow if it has none (rule 24). */
export async function ringAccount(options: {
  client: Client;
  account: string;
  taskQueue: string;
}): Promise<void> {
  const { client, account, taskQueue } = options;
  const input: AccountInput = { account };
  await client.workflow.signalWithStart(WORKFLOWS.account, {
    workflowId: accountWorkflowId(account),
    taskQueue,
    args: [input],
    signal: SIGNALS.ring,
    signalArgs: [],
    staticSummary: `Account ${account}`,
  });
}

/** Has a test clock carry its accounts to its target. One that is at it already looks again before it ends. */
export async function ringClock(options: {
  client: Client;
  clock: string;
  taskQueue: string;
}): Promise<void> {
  const { client, clock, taskQueue } = options;
  const input: ClockInput = { clock };
  await client.workflow.signalWithStart(WORKFLOWS.clock, {
    workflowId: clockWorkflowId(clock),
    taskQueue,
    args: [input],
    signal: SIGNALS.ring,
    signalArgs: [],
    staticSummary: `Test clock ${clock}`,
  });
}

/** The namespace's id, which stays the same when a namespace is renamed or recreated under its name (rule 17). */
export async function namespaceId(client: Client): Promise<string> {
  const { namespaceInfo } = await client.workflowService.describeNamespace({
    namespace: client.options.namespace,
  });
  if (!namespaceInfo?.id)
    throw new Error(`Temporal did not say the id of namespace ${client.options.namespace}`);
  return namespaceInfo.id;
}

const KEYWORD_TYPE = 2; // temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD

/** Registers our search attributes where they are missing. A start with an unknown one would be refused. */
export async function ensureSearchAttributes(client: Client): Promise<void> {
  const { namespace } = client.options;
  const { operatorService } = client.connection;
  const known = await operatorService.listSearchAttributes({ namespace });
  const missing = Object.values(SEARCH_ATTRIBUTES).filter(
    (name) => !(name in (known.customAttributes ?? {})),
  );
  if (missing.length === 0) return;
  await operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD_TYPE])),
  });
}
