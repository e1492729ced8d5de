import { accessSync, constants } from 'node:fs';
import {
  type Client,
  type ConnectionOptions,
  isGrpcServiceError,
  ScheduleAlreadyRunning,
  type ScheduleOptions,
  type ScheduleOptionsStartWorkflowAction,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { accountWorkflowId, clockWorkflowId } from '../../domain/ids';
import type { Settings } from '../../domain/settings';
import {
  ACCOUNT_PRIORITY,
  type AccountInput,
  accountTaskQueue,
  type ClockInput,
  SEARCH_ATTRIBUTES,
  SIGNALS,
  type SweepInput,
  sweepScheduleId,
  WORKFLOWS,
} from '../../domain/contract';
import { defined } from '../../domain/defined';

/** How our processes reach Temporal. The client side only: workflow code never imports this file. */

const LOCAL = '127.0.0.1:7233';

/**
 * How Temporal is reached: for `Connection.connect` and `NativeConnection.connect` alike, and the namespace. Reads the files that
 * the variables name; a profile of the Temporal CLI only where one is named, for what is meant for somebody's terminal is not
 * meant for a server. Throws an Error that says what is wrong.
 */
export function reachTemporal({ variables }: Pick<Settings['temporal'], 'variables'>) {
  const file = variables['TEMPORAL_CONFIG_FILE'];
  if (file !== undefined) accessSync(file, constants.R_OK); // one that is not there would count as an empty one
  const namesFile = 'TEMPORAL_CONFIG_FILE' in variables || 'TEMPORAL_PROFILE' in variables;
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({
    overrideEnvVars: variables,
    disableFile: !namesFile,
  });
  const { address = LOCAL, apiKey, tls, metadata } = connectionOptions;
  const options = {
    address,
    ...(typeof apiKey === 'string' ? { apiKey } : {}),
    ...(tls === undefined || tls === null ? {} : { tls }),
    ...defined({ metadata }),
  } satisfies ConnectionOptions;
  return { options, namespace };
}

/** Where the Temporal UI shows a workflow; null without a UI. */
export function temporalUrlOf(temporal: Settings['temporal']): (workflowId: string) => string | null {
  const { uiUrl } = temporal;
  const { namespace } = reachTemporal(temporal);
  if (uiUrl === undefined) return () => null;
  const base = uiUrl.replace(/\/$/, '');
  return (workflowId) => `${base}/namespaces/${namespace}/workflows/${encodeURIComponent(workflowId)}`;
}

/** Wakes an account's workflow, starting it if it has none (rule 24). */
export async function ringAccount(options: {
  client: Client;
  account: string;
  taskQueue: string;
}): Promise<void> {
  const { client, account, taskQueue } = options;
  const input: AccountInput = { account };
  await client.workflow.signalWithStart(WORKFLOWS.account, {
    workflowId: accountWorkflowId(account),
    taskQueue: accountTaskQueue(taskQueue),
    priority: ACCOUNT_PRIORITY,
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

type SweepStory = (input: SweepInput) => Promise<unknown>;

/** A pass that hangs must not be the last one: with overlap SKIP the next begins only when it has ended. */
const PASS_TIMEOUT = '30 minutes';

/**
 * Has the sweep run every so often: the Schedule is made, or brought up to date, at every start of a worker. Whoever
 * paused it meant it, so that stays.
 */
export async function ensureSweep(options: {
  client: Client;
  taskQueue: string;
  everySeconds: number;
}): Promise<void> {
  const { client, taskQueue, everySeconds } = options;
  const scheduleId = sweepScheduleId(taskQueue);
  const wanted: Omit<
    ScheduleOptions<ScheduleOptionsStartWorkflowAction<SweepStory>>,
    'scheduleId' | 'state'
  > = {
    spec: { intervals: [{ every: everySeconds * 1000 }] },
    // A pass that was missed is made up for by the next one, which looks at everything anyway.
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
    action: {
      type: 'startWorkflow',
      workflowType: WORKFLOWS.sweep,
      workflowId: scheduleId,
      taskQueue: accountTaskQueue(taskQueue),
      workflowRunTimeout: PASS_TIMEOUT,
      args: [{}],
      staticSummary: 'Repairs whatever no other process handled',
    },
  };
  try {
    await client.schedule.create({ scheduleId, ...wanted });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    const { memo: _, ...update } = wanted;
    await client.schedule.getHandle(scheduleId).update<SweepStory>(({ state }) => ({ ...update, state }));
  }
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

/** What the server says of a namespace's id. `unclear`: it gave no answer from which anything may be concluded. */
export type FoundNamespace = { kind: 'found'; name: string } | { kind: 'not_found' | 'unclear' };

const NOT_FOUND = new Set<number>([5]); // gRPC status

/**
 * Looks a namespace up by its id; by our own name first, which needs no other right than to our own. One that was made again
 * under the same name has another id, and knows nothing of our workflows. The caller sets the deadline.
 */
export async function findNamespace(client: Client, id: string): Promise<FoundNamespace> {
  const ours = await describeNamespace(client, { namespace: client.options.namespace });
  if (ours.kind === 'found' && ours.id === id) return ours;
  const theirs = await describeNamespace(client, { id });
  // A server that answers with another one than was asked for did not look.
  return theirs.kind === 'found' && theirs.id !== id ? { kind: 'unclear' } : theirs;
}

async function describeNamespace(client: Client, request: { namespace: string } | { id: string }) {
  try {
    const { namespaceInfo } = await client.workflowService.describeNamespace(request);
    const { id, name } = namespaceInfo ?? {};
    return id && name ? { kind: 'found' as const, id, name } : { kind: 'unclear' as const };
  } catch (error) {
    if (!isGrpcServiceError(error)) throw error;
    return { kind: NOT_FOUND.has(error.code) ? ('not_found' as const) : ('unclear' as const) };
  }
}

const KEYWORD_TYPE = 2; // temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD

/** gRPC statuses: ALREADY_EXISTS, PERMISSION_DENIED, UNIMPLEMENTED. */
const NOT_OURS_TO_REGISTER = new Set<number>([6, 7, 12]);

/**
 * Registers our search attributes where they are missing. A start with an unknown one would be refused. Where it is not ours to
 * look or to register (Temporal Cloud, a server with an authorizer, another process that is doing so), that is told and no more.
 */
export async function ensureSearchAttributes(
  client: Client,
  { onRefused }: { onRefused: (error: Error) => void },
): Promise<void> {
  try {
    await registerMissing(client);
  } catch (error) {
    if (!isGrpcServiceError(error) || !NOT_OURS_TO_REGISTER.has(error.code)) throw error;
    onRefused(error);
  }
}

async function registerMissing(client: Client): Promise<void> {
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
