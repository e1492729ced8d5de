import { randomBytes } from 'node:crypto';
import type { Database } from '../../../db/connection/connection';
import type {
  ApplyResult,
  CaptureOperation,
  ChargeOperation,
  GrantOperation,
  LeaseOperation,
  Operation,
  Reply,
  ReserveOperation,
} from '../../../db/ledger/operations';
import { milli } from '../../../domain/credits';

/** Straight to `ledger.apply`, without catalog or calendar: what the SQL itself does and refuses. */

export interface Lot {
  lot_no: number;
  bucket: string;
  granted: number;
  available: number;
  held: number;
  spent: number;
  expired: number;
  revoked: number;
}

/** As in the operations, but amounts are plain numbers of millicredits. */
type Plain<T> = Omit<Partial<T>, 'amount'>;
type Reserve = Plain<ReserveOperation> & { amount: number };
type Capture = Plain<CaptureOperation> & { amount?: number };

export function ledgerOf(db: Database, owner: Database = db) {
  async function apply(
    account: string,
    operations: Operation[],
    settlement: unknown = null,
  ): Promise<ApplyResult> {
    const { rows } = await db.pool.query<{ value: ApplyResult }>('SELECT ledger.apply($1) -> 0 AS value', [
      JSON.stringify([{ account, ops: operations, settle: settlement }]),
    ]);
    const [row] = rows;
    if (row === undefined) throw new Error('no answer');
    return row.value;
  }

  async function one(account: string, operation: Operation): Promise<Reply> {
    const result = await apply(account, [operation]);
    if (result.result !== 'ok') throw new Error(`the ledger answered ${result.result}`);
    const [reply] = result.replies;
    if (reply === undefined) throw new Error('no reply');
    return reply;
  }

  return {
    apply,
    one,
    /** An account that is settled for ever, on a clock of its own if one is given. */
    async open({ clockAt }: { clockAt?: string } = {}): Promise<string> {
      const account = `a-${randomBytes(6).toString('hex')}`;
      const rules = { catalog: 'none', plan: 'free', planSource: 'free' };
      await db.pool.query('SELECT ledger.open_account($1, $2, $3)', [
        account,
        JSON.stringify(rules),
        clockAt ?? null,
      ]);
      const settlement = {
        settleVersion: 0,
        rulesVersion: 1,
        steps: [],
        calendar: {},
        nextDueAt: 'infinity',
        wakeAt: 'infinity',
      };
      await apply(account, [], settlement);
      return account;
    },
    moveClock: (account: string, to: string) =>
      db.pool.query('SELECT ledger.move_clock($1, $2)', [account, to]),
    grant: (account: string, grant: Plain<GrantOperation> & { amount: number }) =>
      one(account, {
        op: 'grant',
        key: `sys:grant:${randomBytes(6).toString('hex')}`,
        hash: 'grant',
        bucket: 'pack',
        rank: 3,
        source: 'test',
        ...grant,
        amount: milli(grant.amount),
      }),
    reserve: (account: string, reserve: Reserve) => one(account, reservation(account, reserve)),
    /** A leased hold; its id. */
    async lease(
      account: string,
      { amount, ...lease }: Plain<LeaseOperation> & { amount: number },
    ): Promise<string> {
      const operation: LeaseOperation = {
        ...taking(account),
        ttlSeconds: 60,
        op: 'reserve',
        maxOpen: 1000,
        ...lease,
        amount: milli(amount),
      };
      await one(account, operation);
      return operation.holdId;
    },
    charge: (account: string, { amount, ...charge }: Plain<ChargeOperation> & { amount: number }) =>
      one(account, { ...taking(account), op: 'charge', ...charge, amount: milli(amount) }),
    capture: (account: string, holdId: string, { amount, ...capture }: Capture = {}) =>
      one(account, {
        op: 'capture',
        key: `sys:capture:${holdId}:${capture.phase ?? 'final'}`,
        hash: 'capture',
        holdId,
        final: true,
        cause: 'provider',
        generation: capture.final === false ? {} : { status: 'succeeded' },
        ...(amount === undefined ? { delivered: 1, ordered: 1 } : { amount: milli(amount) }),
        ...capture,
      }),
    release: (
      account: string,
      holdId: string,
      release: Partial<Extract<Operation, { op: 'release' }>> = {},
    ) =>
      one(account, {
        op: 'release',
        key: `sys:release:${holdId}`,
        hash: 'release',
        holdId,
        cause: 'provider',
        generation: { status: 'failed', error: { code: 'provider_error', message: 'no' } },
        ...release,
      }),
    async lots(account: string): Promise<Lot[]> {
      const { rows } = await owner.pool.query<Lot>(
        'SELECT lot_no, bucket, granted, available, held, spent, expired, revoked FROM ledger.lots WHERE account_id = $1 ORDER BY lot_no',
        [account],
      );
      return rows;
    },
    async totals(
      account: string,
    ): Promise<{ seq: number; available: number; held: number; open_holds: number }> {
      const { rows } = await owner.pool.query<{
        seq: number;
        available: number;
        held: number;
        open_holds: number;
      }>('SELECT seq, available, held, open_holds FROM ledger.accounts WHERE account_id = $1', [account]);
      const [row] = rows;
      if (row === undefined) throw new Error(`no account ${account}`);
      return row;
    },
    async journal(account: string) {
      const { rows } = await owner.pool.query<{
        seq: number;
        kind: string;
        status: string;
        credits: number;
        at: Date;
      }>('SELECT seq, kind, status, credits, at FROM ledger.journal WHERE account_id = $1 ORDER BY seq', [
        account,
      ]);
      return rows;
    },
  };
}

export type TestLedger = ReturnType<typeof ledgerOf>;

/** What leases and charges share: under a key of its own, for work that nobody has named. */
function taking(account: string) {
  const name = randomBytes(8).toString('hex');
  return {
    key: `req:${name}`,
    hash: 'take',
    rulesVersion: 1,
    holdId: `hold_${account}.${name}`,
    excluded: [],
    reserveBefore: 'infinity',
    facts: { excluded: [] },
    work: {},
  };
}

/** A reservation of `amount` millicredits, under a key of its own unless one is given. */
export function reservation(account: string, options: Reserve): ReserveOperation {
  const name = randomBytes(8).toString('hex');
  return {
    op: 'reserve',
    key: `req:${name}`,
    hash: 'reserve',
    rulesVersion: 1,
    holdId: `hold_${account}.${name}`,
    excluded: [],
    maxOpen: 1000,
    reserveBefore: 'infinity',
    overdueSeconds: 600,
    refuseOnly: false,
    runs: options.amount > 0,
    workflowId: 'workflow',
    namespaceId: 'namespace',
    ...options,
    amount: milli(options.amount),
    generation: {
      id: `gen_${account}.${name}`,
      action: 'image',
      model: null,
      params: {},
      ordered: 1,
      member: null,
      project: null,
      feature: null,
      parent: null,
      metadata: null,
      provider: { type: 'simulated' },
      catalogVersion: 1,
      temporalUrl: null,
      deadlineAt: null,
      ...options.generation,
    },
  };
}
