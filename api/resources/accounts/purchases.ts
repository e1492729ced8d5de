import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import {
  findInInbox,
  type InboxRow,
  listPurchases,
  type PackPurchase,
  putIntoInbox,
} from '../../../db/generations/inbox';
import { createInboxWork } from '../../../db/generations/inboxWork';
import type { Ledger } from '../../../db/ledger/ledger';
import { toMs } from '../../../domain/account';
import {
  type Bucket,
  bucketOf,
  type Pack,
  packOf,
  returnGraceSeconds,
} from '../../../domain/catalog/catalog';
import { MAX_BALANCE_MILLI, MAX_OPERATION_MILLI, milli, toCredits, toMilli } from '../../../domain/credits';
import { purchaseId } from '../../../domain/ids';
import type { Caller } from '../../routing/authenticate';
import { balanceLimitReached, invalidField, keyConflict, unknownAccount } from '../../problems/common';
import { listFields, listOf, page } from '../../routing/pagination';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type Route, route } from '../../routing/route';
import {
  accountId,
  creditsOut,
  instantOut,
  rangeFields,
  rangeOf,
  reason,
  shown,
} from '../../routing/schemas';

/** Credit packs: a purchase is a row in the account's inbox, which its own request turns into a grant (rule 31). */

export interface PurchaseRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
  /** Wakes the account's workflow. */
  ring: (account: string) => void;
}

const purchase = z
  .object({
    id: z.string(),
    status: z
      .enum(['open', 'paid', 'granted', 'failed', 'refunded', 'disputed'])
      .describe('`paid`: accepted, and the credits are not there yet'),
    amount: z.number().nullable().describe('What was paid; null where no money moved'),
    currency: z.string().nullable(),
    credits: creditsOut,
    pack: z.string(),
    quantity: z.number(),
    reason: z.string().nullable(),
    createdAt: instantOut,
    grantedAt: instantOut.nullable(),
    error: z
      .string()
      .nullable()
      .describe('Why a waiting purchase could not be granted when it was last tried. Shown to scope `admin`'),
  })
  .meta({ id: 'Purchase' });

/** A purchase's own grant is a call of the ledger, which has bounds of its own. */
const ONE_ROW = { limit: 1, withinMs: 0 } as const;

const newestFirst = z.object({ createdAt: instantOut, id: z.string() });

export function purchaseRoutes(deps: PurchaseRouteDeps): Route[] {
  return [buyPack(deps), listOfPurchases(deps), getPurchase(deps), retryPurchase(deps)];
}

const one = {
  tag: 'Balance',
  account: accountFrom.param('id'),
  errors: ['unknown_purchase', 'unknown_account'],
  params: z.strictObject({ id: accountId, purchase: z.string().max(128) }),
  responses: { 200: purchase },
} as const;

async function packOnSale(
  { ledger, catalogs }: PurchaseRouteDeps,
  account: string,
  name: string,
): Promise<{ pack: Pack; bucket: Bucket }> {
  const snapshot = await ledger.snapshot(account);
  if (snapshot === null) throw unknownAccount(account);
  const { catalog } = await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now));
  const pack = packOf(catalog, name);
  const bucket = bucketOf(catalog, 'pack');
  if (pack === undefined || bucket === undefined) {
    throw new ProblemError('unknown_pack', {
      detail: `Catalog ${catalog.catalog} has no pack ${name}; it has ${catalog.packs.map((one) => one.pack).join(', ') || 'none'}.`,
    });
  }
  return { pack, bucket };
}

/** What is accepted is granted some day, so it is looked at before; the lock has the last word, and has it wait for room. */
async function assertRoom(
  { ledger }: PurchaseRouteDeps,
  account: string,
  amountMilli: number,
): Promise<void> {
  if (amountMilli > MAX_OPERATION_MILLI)
    throw invalidField(
      'quantity',
      `One purchase has at most ${toCredits(MAX_OPERATION_MILLI)} credits; buy several.`,
    );
  const snapshot = await ledger.snapshot(account);
  if (snapshot === null) throw unknownAccount(account);
  if (snapshot.available + snapshot.held + amountMilli > MAX_BALANCE_MILLI) throw balanceLimitReached();
}

/** What cannot be granted now is the workflow's, which shows the purchase in any case; and the sweep's. */
async function tried({ db, ledger, ring }: PurchaseRouteDeps, row: InboxRow): Promise<InboxRow> {
  const { account, key } = row;
  try {
    await createInboxWork({ ledger, knex: db.knex }).drain({ account, key, ...ONE_ROW });
  } finally {
    ring(account);
  }
  return (await findInInbox(db.knex, { account, key })) ?? row;
}

async function mustFind({ db, ledger }: PurchaseRouteDeps, account: string, key: string): Promise<InboxRow> {
  const found = await findInInbox(db.knex, { account, key });
  if (found !== undefined) return found;
  if ((await ledger.snapshot(account)) === null) throw unknownAccount(account);
  throw new ProblemError('unknown_purchase', { detail: `Account ${account} has no purchase ${key}.` });
}

function buyPack(deps: PurchaseRouteDeps): Route {
  const { db } = deps;
  return route({
    method: 'POST',
    path: '/v1/accounts/{id}/purchases',
    summary: 'Grant a pack of the catalog, as if it had been bought',
    description:
      'For administrators: no money moves. The purchase is kept, and then granted at once. Where that cannot be done now, ' +
      'the answer says `paid`, and it is granted as soon as it can be; `GET` says how it stands.',
    tag: 'Balance',
    scope: 'admin',
    account: accountFrom.param('id'),
    idempotency: 'required',
    errors: ['unknown_account', 'unknown_pack', 'balance_limit_reached'],
    params: z.strictObject({ id: accountId }),
    body: z.strictObject({
      pack: z.string().min(1).max(64),
      quantity: z.int().min(1).max(1000).default(1),
      reason: reason.optional(),
    }),
    responses: { 201: purchase },
  }).handle(async ({ params, body, key, hash, caller }) => {
    const id = purchaseId(params.id, key);
    const row = { account: params.id, key: id };
    // A purchase that was begun is looked at no further: its pack may have left the catalog since.
    let kept = await findInInbox(db.knex, row);
    let fresh = false;
    if (kept === undefined) {
      const { pack, bucket } = await packOnSale(deps, params.id, body.pack);
      await assertRoom(deps, params.id, toMilli(pack.credits) * body.quantity);
      const bought: PackPurchase = {
        purchase: id,
        pack: pack.pack,
        quantity: body.quantity,
        creditsMilli: toMilli(pack.credits),
        rank: bucket.rank,
        graceSeconds: returnGraceSeconds(bucket),
        actor: caller.keyId,
        reason: body.reason ?? null,
      };
      fresh = await putIntoInbox(db.knex, {
        ...row,
        kind: 'pack_purchase',
        requestHash: hash,
        body: bought,
      });
      kept = await findInInbox(db.knex, row);
    }
    if (kept === undefined || kept.requestHash !== hash) throw keyConflict();
    return { status: 201, body: showPurchase(await tried(deps, kept), caller), replayed: !fresh };
  });
}

function listOfPurchases({ db, ledger }: PurchaseRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/accounts/{id}/purchases',
    load: 'report',
    summary: 'List purchases of an account, newest first',
    tag: 'Balance',
    scope: 'read',
    account: accountFrom.param('id'),
    errors: ['unknown_account'],
    params: z.strictObject({ id: accountId }),
    query: z.strictObject({ ...listFields(newestFirst), ...rangeFields }),
    responses: { 200: listOf(purchase) },
  }).handle(async ({ params, query: { limit, cursor, ...range }, caller }) => {
    const snapshot = await ledger.snapshot(params.id);
    if (snapshot === null) throw unknownAccount(params.id);
    const rows = await listPurchases(db.reports, {
      ...rangeOf(range, snapshot.rules.timezone),
      account: params.id,
      before: cursor,
      limit: limit + 1,
    });
    const place = ({ receivedAt, key }: InboxRow) => ({ createdAt: shown(receivedAt), id: key });
    return { status: 200, body: page({ rows, limit, place, show: (row) => showPurchase(row, caller) }) };
  });
}

function getPurchase(deps: PurchaseRouteDeps): Route {
  return route({
    ...one,
    method: 'GET',
    path: '/v1/accounts/{id}/purchases/{purchase}',
    summary: 'Get a purchase',
    scope: 'read',
  }).handle(async ({ params, caller }) => ({
    status: 200,
    body: showPurchase(await mustFind(deps, params.id, params.purchase), caller),
  }));
}

function retryPurchase(deps: PurchaseRouteDeps): Route {
  return route({
    ...one,
    method: 'POST',
    path: '/v1/accounts/{id}/purchases/{purchase}/retry',
    summary: 'Retry a purchase that is waiting',
    description:
      'It needs no workflow. One that is granted is answered as it is. `paid`: it still waits, and `error` says why.',
    scope: 'admin',
    idempotency: 'optional',
  }).handle(async ({ params, caller }) => ({
    status: 200,
    body: showPurchase(await tried(deps, await mustFind(deps, params.id, params.purchase)), caller),
  }));
}

function showPurchase(row: InboxRow, { scopes }: Caller): z.output<typeof purchase> {
  const { pack, quantity, creditsMilli, reason: why } = row.body;
  return {
    id: row.key,
    status: row.doneAt === null ? 'paid' : 'granted',
    amount: null,
    currency: null,
    credits: toCredits(milli(creditsMilli * quantity)),
    pack,
    quantity,
    reason: why,
    createdAt: shown(row.receivedAt),
    grantedAt: row.doneAt === null ? null : shown(row.doneAt),
    error: scopes.has('admin') ? row.lastError : null,
  };
}
