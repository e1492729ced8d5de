import type { Knex } from 'knex';
import { LedgerOverloaded } from '../ledger/accountQueue';
import { BUSY, createLockWaits } from '../ledger/lockWaits';
import { prepared } from '../connection/prepared';
import { throughReplacement } from '../migrate/replacedFunctions';
import type { KeptText } from './requestKeys';

/**
 * An account's keys, which are one space (rule 1). For its operations the ledger keeps keys and facts (ledger.op_keys).
 * For all other requests the key is claimed under the account's lock before the effect, and the answer kept after it
 * (ledger.kept_answers), so that no two requests are carried out under one key.
 */
export interface AccountKeys {
  /** Looks a key up in both places that remember keys. */
  find(id: AccountKey): Promise<KnownKey>;
  /**
   * Claims the key for a request that is about to have its effect; it ends with `keep` or `free`, or it failed and
   * nobody knows. Throws LedgerOverloaded when too many wait for the account's lock already.
   */
  claim(request: KeyClaim): Promise<Claim>;
  /** Keeps the answer of a claimed key. Returns what is kept, which of two at a time is the first one's. */
  keep(answer: AccountKey & KeptText & { hash: string }): Promise<KeptText>;
  /** The claimed key was not used after all. */
  free(id: AccountKey): Promise<void>;
}

interface AccountKey {
  account: string;
  /** As it was sent. */
  key: string;
}

export interface KeyClaim extends AccountKey {
  hash: string;
  /** Its answer moves no credits, and goes after a while (db/idempotency/passing.ts). */
  passing: boolean;
}

/** What a key is known for. `hash` null: it is new. */
interface KnownKey {
  /** The hash of the request it came with, wherever it is kept. */
  hash: string | null;
  /** Whether it is the key of an operation of the ledger. */
  applied: boolean;
  /** The answer as it was sent; null while it has none, or where the ledger keeps the facts of it. */
  kept: KeptText | null;
}

/** What came of a claim: the key is this request's, or it has its answer, or it is another's, or nobody's. */
type Claim = { known: 'claimed' | 'conflict' | 'unknown_account' } | { known: 'answered'; kept: KeptText };

interface AnswerRow {
  status: number | null;
  answer: Buffer | null;
}

interface ClaimRow extends AnswerRow {
  known: Claim['known'] | 'busy';
}

const KNOWN = `SELECT request_hash AS hash, false AS applied, status, answer FROM ledger.kept_answers WHERE account_id = :account AND key = :key
                UNION ALL
               SELECT request_hash, true, NULL, NULL FROM ledger.op_keys WHERE account_id = :account AND key = :key`;

/** Claims that may wait behind the one of their account that waits for its lock. */
const MAX_WAITING = 2_048;

export function createAccountKeys(knex: Knex, { maxWaiting = MAX_WAITING } = {}): AccountKeys {
  const inTurn = createTurns(maxWaiting);
  const locks = createLockWaits();

  async function claim({ hash, passing, ...id }: KeyClaim): Promise<Claim> {
    const sql = 'SELECT * FROM ledger.claim_key(:account, :key, :hash, :wait, :passing)';
    const row = await locks.through(id.account, async (wait) => {
      const { rows } = await throughReplacement(() =>
        knex.raw<{ rows: ClaimRow[] }>(sql, { ...inLedger(id), hash, wait, passing }),
      );
      const [found] = rows;
      if (found === undefined) throw new Error('ledger.claim_key answered nothing');
      return found.known === 'busy' ? BUSY : { ...found, known: found.known };
    });
    if (row.known !== 'answered') return { known: row.known };
    const kept = textOf(row);
    if (kept === null) throw new Error('ledger.claim_key found an answer and did not give it');
    return { known: 'answered', kept };
  }

  return {
    async find(id) {
      const { rows } = await prepared('account_key', (name) =>
        knex
          .raw<{ rows: (AnswerRow & { hash: string; applied: boolean })[] }>(KNOWN, inLedger(id))
          .options({ name }),
      );
      const [first] = rows; // where it is in both, an answer was kept of what the ledger did
      const full = rows.find(({ answer }) => answer !== null);
      return {
        hash: first?.hash ?? null,
        applied: rows.some(({ applied }) => applied),
        kept: full === undefined ? null : textOf(full),
      };
    },
    claim: (request) => inTurn(request.account, () => claim(request)),
    async keep({ status, answer, hash, ...id }) {
      const sql = 'SELECT * FROM ledger.keep_answer(:account, :key, :hash, :status, :answer)';
      const { rows } = await throughReplacement(() =>
        knex.raw<{ rows: AnswerRow[] }>(sql, { ...inLedger(id), hash, status, answer }),
      );
      const kept = rows[0] === undefined ? null : textOf(rows[0]);
      if (kept === null) throw new Error('the answer of a key was kept that nobody had claimed');
      return kept;
    },
    async free(id) {
      await throughReplacement(() => knex.raw('SELECT ledger.free_key(:account, :key)', inLedger(id)));
    },
  };
}

/**
 * One at a time of each account, so that one whose lock somebody holds does not take all connections. Who waits
 * behind one that failed fails with it: nobody waits for a lock more than once.
 */
function createTurns(maxWaiting: number) {
  const queues = new Map<string, { work: () => Promise<void>; reject: (error: unknown) => void }[]>();

  async function drain(account: string): Promise<void> {
    const queue = queues.get(account) ?? [];
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      try {
        await next.work();
        queue.shift();
      } catch (error) {
        for (const { reject } of queue.splice(0)) reject(error);
      }
    }
    queues.delete(account);
  }

  return <T>(account: string, work: () => Promise<T>): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      const queue = queues.get(account);
      if (queue !== undefined && queue.length > maxWaiting) {
        reject(
          new LedgerOverloaded(
            `${queue.length} requests wait on account ${account} already; try again later`,
          ),
        );
        return;
      }
      const turn = { work: async () => resolve(await work()), reject };
      if (queue !== undefined) {
        queue.push(turn);
        return;
      }
      queues.set(account, [turn]);
      void drain(account);
    });
}

function textOf({ status, answer }: AnswerRow): KeptText | null {
  return status === null || answer === null ? null : { status, answer };
}

function inLedger({ account, key }: AccountKey): { account: string; key: string } {
  return { account, key: `req:${key}` };
}
