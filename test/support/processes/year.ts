import { runAudit } from '../../../db/audit';
import { type Balance, type Engine, eventually, type Generation, type Problem, type Reply } from './engine';

/** A customer whose year passes on a test clock: everything goes over HTTP and through the real workflows. */

export interface Year {
  account: string;
  /** Lets time pass until an instant, with everything that is due on the way. */
  until: (instant: string) => Promise<void>;
  post: <T = Problem>(what: string, body?: object) => Promise<Reply<T>>;
  buy: (pack: string) => Promise<void>;
  put: (what: string, body: object) => Promise<Reply<Problem>>;
  /** Orders, and waits until it has ended: how, and what it cost. */
  make: (body: object) => Promise<string>;
  /** Orders and is refused: why. */
  refused: (body: object) => Promise<Problem>;
  /** Credits by bucket, those with none left out. */
  credits: () => Promise<Record<string, number>>;
  show: () => Promise<{ plan: string; subscription: { status: string } }>;
  usage: (groupBy: string) => Promise<Record<string, number>>;
  /** The statement of all there was: a line each of date, what, and the change of what is available. */
  statement: () => Promise<string[]>;
  /** What it was told of on its own until a day: a line each of date, what, and how many credits. */
  told: (until: string) => Promise<string[]>;
  /** Fails if the books of anybody are not in order. */
  audited: () => Promise<void>;
}

interface Statement {
  lines: { at: string; kind: string; credits: number; action: string | null; model: string | null }[];
  opening: number;
  closing: number;
}

interface Told {
  at: string;
  type: string;
  credits: number | null;
  plan: { before: string; after: string; pending: { plan: string; at: string } | null } | null;
}

export async function beginYear(
  engine: Engine,
  { from, ...customer }: { from: string; catalog: string; timezone?: string; plan?: string },
): Promise<Year> {
  const clock = await engine.call<{ id: string }>('POST', '/v1/test-clocks', { body: { frozenAt: from } });
  const account = engine.newId('year');
  const opened = await engine.call('POST', '/v1/accounts', {
    body: { id: account, testClock: clock.body.id, ...customer },
  });
  expect(opened.status).toBe(201);
  let orders = 0;
  const order = <T>(body: object) => {
    orders += 1;
    const provider = { type: 'simulated', delayMs: 0 };
    return engine.generate<T>({ account, provider, ...body }, `order-${orders}`);
  };
  const get = async <T>(what: string) => (await engine.call<T>('GET', `/v1/accounts/${account}${what}`)).body;

  return {
    account,
    async until(to) {
      const at = `/v1/test-clocks/${clock.body.id}`;
      const advanced = await engine.call('POST', `${at}/advance`, { body: { to } });
      expect([advanced.status, advanced.text]).toEqual([202, expect.stringContaining('advancing')]);
      const ready = await eventually(
        () => engine.call<{ status: string; now: string }>('GET', at),
        ({ body }) => body.status === 'ready',
        60_000,
      );
      expect(Date.parse(ready.body.now)).toBe(Date.parse(to));
    },
    post: (what, body = {}) => {
      orders += 1;
      return engine.call('POST', `/v1/accounts/${account}/${what}`, { body, idempotencyKey: `do-${orders}` });
    },
    async buy(pack) {
      expect((await engine.purchase(account, { pack })).status).toBe(201);
    },
    put: (what, body) => engine.call('PUT', `/v1/accounts/${account}/${what}`, { body }),
    async make(body) {
      const ordered = await order<Generation>(body);
      expect([ordered.status, ordered.text]).toEqual([201, expect.stringContaining('"status"')]);
      const { status, credits } = await engine.ended(ordered.body.id);
      return `${status}: ${credits.captured}`;
    },
    refused: async (body) => (await order<Problem>(body)).body,
    async credits() {
      const { buckets } = await get<Balance>('/balance');
      const left = buckets.filter(({ available }) => available > 0);
      return Object.fromEntries(left.map(({ bucket, available }) => [bucket, available]));
    },
    show: () => get(''),
    async usage(groupBy) {
      const { body } = await engine.call<{ data: { key: string; credits: number }[] }>(
        'GET',
        `/v1/usage?account=${account}&groupBy=${groupBy}&from=${encodeURIComponent(from)}`,
      );
      return Object.fromEntries(body.data.map(({ key, credits }) => [key, credits]));
    },
    async statement() {
      const { lines, opening, closing } = await get<Statement>(`/statement?from=${encodeURIComponent(from)}`);
      const told = lines.map(({ at, kind, credits, action, model }) => {
        const what = action === null ? kind : [action, model].filter((part) => part !== null).join(' ');
        return `${at.slice(0, 10)} ${what} ${credits > 0 ? '+' : ''}${credits}`;
      });
      return [`opening ${opening}`, ...told, `closing ${closing}`];
    },
    async told(until) {
      const { data } = await get<{ data: Told[] }>(`/events?limit=100&to=${until}`);
      return data.toReversed().map(({ at, type, credits, plan }) => {
        const then = plan?.pending == null ? '' : `, ${plan.pending.plan} on ${plan.pending.at.slice(0, 10)}`;
        return `${at.slice(0, 10)} ${type} ${credits ?? `${plan?.before} → ${plan?.after}${then}`}`;
      });
    },
    async audited() {
      const { checks } = await runAudit(engine.database.owner.pool);
      expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
    },
  };
}
