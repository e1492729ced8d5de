import { z } from 'zod';
import type { CatalogStore } from '../../db/catalogs';
import type { Database } from '../../db/connection';
import { findInInbox, type InboxRow, type PackPurchase, putIntoInbox } from '../../db/inbox';
import type { Ledger } from '../../db/ledger';
import { toMs } from '../../domain/account';
import { type Bucket, bucketOf, type Pack, packOf, returnGraceSeconds } from '../../domain/catalog';
import { milli, toCredits, toMilli } from '../../domain/credits';
import { purchaseId } from '../../domain/ids';
import { keyConflict, unknownAccount } from '../commonProblems';
import { pollUntil } from '../polling';
import { ProblemError } from '../problems';
import { accountFrom, type Route, route } from '../route';
import { accountId, creditsOut, reason } from '../schemas';

/** Credit packs: a purchase is a row in the account's mailbox, which its workflow turns into a grant. */

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
    pack: z.string(),
    quantity: z.number(),
    credits: creditsOut,
    status: z.enum(['paid', 'granted']),
  })
  .meta({ id: 'Purchase' });

/** How long a purchase's answer waits for the account's workflow to have granted it. */
const GRANTED_WITHIN_MS = 5_000;

export function purchaseRoutes({ db, ledger, catalogs, ring }: PurchaseRouteDeps): Route[] {
  async function packOnSale(account: string, name: string): Promise<{ pack: Pack; bucket: Bucket }> {
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

  return [
    route({
      method: 'POST',
      path: '/v1/accounts/{id}/purchases',
      summary: 'Grant a pack of the catalog, as if it had been bought',
      description:
        'For administrators: no money moves. The purchase goes through the account’s mailbox like any other.',
      tag: 'Balance',
      scope: 'admin',
      account: accountFrom.param('id'),
      idempotency: 'required',
      errors: ['unknown_account', 'unknown_pack'],
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
        const { pack, bucket } = await packOnSale(params.id, body.pack);
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
      // Rung also for a repetition: the first ring may be what went wrong.
      ring(params.id);
      const done = await pollUntil(
        () => findInInbox(db.knex, row),
        (found) => found?.doneAt != null,
        { withinMs: GRANTED_WITHIN_MS, everyMs: 50 },
      );
      return { status: 201, body: showPurchase(done ?? kept), replayed: !fresh };
    }),
  ];
}

function showPurchase({ body, doneAt }: InboxRow): z.output<typeof purchase> {
  const { purchase: id, pack, quantity, creditsMilli } = body;
  const credits = toCredits(milli(creditsMilli * quantity));
  return { id, pack, quantity, credits, status: doneAt === null ? 'paid' : 'granted' };
}
