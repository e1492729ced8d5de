import { once } from 'node:events';
import { accountWorkflowId, purchaseId } from '../../domain/ids';
import { type Engine, eventually, startEngine } from '../support/processes/engine';
import { whileReadOnly } from '../support/ledger/readOnly';

/** Purchases on the whole engine: granted without a workflow, and seen by it all the same. */

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());

const KEY = 'order-1';

async function open(): Promise<string> {
  const account = engine.newId('buyer');
  const body = { id: account, catalog: 'working-day', plan: 'basic' };
  expect((await engine.call('POST', '/v1/accounts', { body })).status).toBe(201);
  return account;
}

const buy = (account: string) =>
  engine.call<{ status: string }>('POST', `/v1/accounts/${account}/purchases`, {
    body: { pack: 'tokens-1000', quantity: 2 },
    idempotencyKey: KEY,
  });

/** What the Temporal UI shows of the account's workflow. */
async function details(account: string): Promise<string> {
  const shown = await engine.temporal.workflow
    .getHandle(accountWorkflowId(account))
    .query<{ currentDetails?: string }>('__temporal_workflow_metadata');
  return shown.currentDetails ?? '';
}

/** What is shown of it once it has nothing to do. */
const settled = (account: string, also: (text: string) => boolean = () => true) =>
  eventually(
    () => details(account).catch(() => ''),
    (text) => /\| next boundary \| \d{4}-\d\d-\d\dT/.test(text) && also(text),
  );

/** What the drainings of the account's present run answered, as its history has them. */
async function drainings(account: string): Promise<string[]> {
  const { events } = await engine.temporal.workflow.getHandle(accountWorkflowId(account)).fetchHistory();
  return (events ?? []).flatMap(({ activityTaskCompletedEventAttributes: done }) => {
    const [payload] = done?.result?.payloads ?? [];
    const text = Buffer.from(payload?.data ?? []).toString('utf8');
    return text.includes('"purchases"') ? [text] : [];
  });
}

test('a purchase is granted and spent while no worker runs', async () => {
  const account = await open();
  const worker = engine.worker();
  const gone = once(worker, 'exit');
  worker.kill('SIGKILL');
  await gone;
  expect((await buy(account)).body).toMatchObject({ status: 'granted', credits: 2_000 });
  expect((await engine.balance(account)).available).toBe(5_000);
  const charge = { body: { account, credits: 4_500 }, idempotencyKey: 'c' };
  expect((await engine.call('POST', '/v1/charges', charge)).status).toBe(201);
  await engine.startWorker();
});

test('the account’s workflow shows a purchase that was granted without it, and its history has both', async () => {
  const account = await open();
  await buy(account);
  const id = purchaseId(account, KEY);
  const shown = await settled(account, (text) => text.includes(id));
  expect(shown).toContain('| plan | basic |');
  expect(shown).toMatch(
    new RegExp(String.raw`- granted \d{4}\S+Z: 2000 credits, 2 × tokens-1000, accepted \d{4}\S+Z, \`${id}\``),
  );
  expect(shown).not.toContain('waits');
  const [last] = (await drainings(account)).toReversed();
  expect(JSON.parse(last ?? '{}')).toMatchObject({
    purchases: [{ purchase: id, credits: 2_000, grantedAt: expect.any(String), error: null }],
  });
});

test('a purchase that cannot be granted is shown as waiting with its error, until the workflow grants it', async () => {
  const account = await open();
  const id = purchaseId(account, KEY);
  await settled(account);
  const waiting = await whileReadOnly(engine.database, async () => {
    expect((await buy(account)).body.status).toBe('paid');
    const shown = await eventually(
      () => details(account).catch(() => ''),
      (text) => text.includes(id),
    );
    expect(shown).toContain('**waits**');
    expect(shown).toMatch(new RegExp(`- \`${id}\` was tried \\d+ times: permission denied`));
    return eventually(
      async () =>
        (await drainings(account).catch(() => [])).find((text) => text.includes('permission denied')),
      (text) => text !== undefined,
    );
  });
  expect(JSON.parse(waiting ?? '{}')).toMatchObject({ purchases: [{ purchase: id, grantedAt: null }] });
  await settled(account, (text) => text.includes(id) && !text.includes('**waits**'));
  expect((await engine.balance(account)).available).toBe(5_000);
});
