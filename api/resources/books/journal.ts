import { z } from 'zod';
import { AuditAtWork, type AuditReport, runAudit } from '../../../db/audit';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { journalPages, readJournal } from '../../../db/books/journal';
import type { Ledger } from '../../../db/ledger/ledger';
import { type Instant, toMs } from '../../../domain/account';
import { bucketOf, returnGraceSeconds } from '../../../domain/catalog/catalog';
import { type MilliCredits, toCredits } from '../../../domain/credits';
import { balanceLimitReached, invalidField, keyConflict, unknownAccount } from '../../problems/common';
import { csvPages, wantsCsv } from '../../routing/csv';
import { DEFAULT_PAGE, listOf, page } from '../../routing/pagination';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type KeyedRequest, type Route, route, type TextAnswer } from '../../routing/route';
import {
  accountId,
  creditsOut,
  instantIn,
  instantOut,
  rangeOf,
  reason,
  signedCreditsIn,
} from '../../routing/schemas';
import { journalColumns, journalEntry, journalQuery, showEntry } from './schemas';

/** What the ledger shows and what an administrator may do to it. */

export interface LedgerRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
}

/** For one check that is asked for over HTTP: nobody waits longer. */
const CHECK_WITHIN_MS = 120_000;

const adjustment = z
  .object({
    account: z.string(),
    bucket: z.string(),
    credits: creditsOut,
    seq: z.number(),
    at: instantOut,
    available: creditsOut,
  })
  .meta({ id: 'Adjustment' });

const auditReport = z
  .object({
    ok: z.boolean(),
    checkedAt: instantOut,
    checks: z.array(
      z.object({ id: z.string(), title: z.string(), violations: z.number(), sample: z.array(z.unknown()) }),
    ),
  })
  .meta({ id: 'AuditReport' });

/** What the ledger keeps under an adjustment's key, as its reply has it. */
interface StoredAdjustment {
  seq: number;
  at: Instant;
  amount: MilliCredits;
  available: MilliCredits;
  /** Missing in what the first releases kept: they had the bucket from the request, which is the same by its hash. */
  facts?: { v: 1; bucket: string };
}

export function ledgerRoutes(deps: LedgerRouteDeps): Route[] {
  return [getJournal(deps), adjustBalance(deps), auditBooks(deps)];
}

async function replay(
  { ledger }: LedgerRouteDeps,
  { account, key, body }: KeyedRequest,
): Promise<TextAnswer | null> {
  const known = await ledger.answerTo(account, `req:${key}`);
  return known === null ? null : { ...renderAdjustment(account, known.answer, body), replayed: true };
}

function getJournal({ db, ledger }: LedgerRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/accounts/{id}/journal',
    load: 'report',
    summary: 'List the journal of an account, newest first',
    description:
      'Refused operations too; those moved nothing. `key` is shown as it was sent; the engine’s own begin with `sys:`. ' +
      'As CSV it is not paged: every row that the filters let through, however many, sent as fast as it is taken. A connection ' +
      'that is cut before the end means that the file is not whole: ask again.',
    tag: 'Ledger',
    scope: 'read',
    account: accountFrom.param('id'),
    csv: true,
    errors: ['unknown_account'],
    params: z.strictObject({ id: accountId }),
    query: journalQuery,
    responses: { 200: listOf(journalEntry) },
  }).handle(async ({ params, query, prefersCsv }) => {
    const { limit, cursor, format, from, to, ...filter } = query;
    const snapshot = await ledger.snapshot(params.id);
    if (snapshot === null) throw unknownAccount(params.id);
    const wanted = {
      ...filter,
      account: params.id,
      ...rangeOf({ from, to }, snapshot.rules.timezone),
    };
    if (wantsCsv({ query: { format }, prefersCsv })) {
      if (limit !== undefined) throw invalidField('limit', 'CSV is not paged.');
      if (cursor !== undefined) throw invalidField('cursor', 'CSV is not paged.');
      const pages = journalPages(db.reports, wanted);
      return csvPages({ filename: `journal-${params.id}`, columns: journalColumns, pages });
    }
    const size = limit ?? DEFAULT_PAGE;
    const rows = await readJournal(db.reports, { ...wanted, beforeSeq: cursor?.seq, limit: size + 1 });
    const place = ({ seq }: { seq: number }) => ({ seq });
    return { status: 200, body: page({ rows, limit: size, place, show: showEntry }) };
  });
}

function adjustBalance(deps: LedgerRouteDeps): Route {
  const { ledger, catalogs } = deps;
  return route({
    method: 'POST',
    path: '/v1/accounts/{id}/adjustments',
    summary: 'Adjust a balance: add or remove credits',
    tag: 'Ledger',
    scope: 'admin',
    account: accountFrom.param('id'),
    idempotency: 'required',
    replay: (request) => replay(deps, request),
    keptAs: 'facts',
    errors: ['unknown_account', 'unknown_bucket', 'adjustment_exceeds_available', 'balance_limit_reached'],
    params: z.strictObject({ id: accountId }),
    body: z
      .strictObject({
        bucket: z.string().min(1).max(64),
        credits: signedCreditsIn.describe('Negative ones are taken'),
        expiresAt: instantIn.optional(),
        reason,
      })
      .refine(({ credits, expiresAt }) => credits > 0 || expiresAt === undefined, {
        path: ['expiresAt'],
        message: 'Credits that are taken do not expire.',
      }),
    responses: { 201: adjustment },
  }).handle(async ({ params, body, key, hash, caller }) => {
    const snapshot = await ledger.snapshot(params.id);
    if (snapshot === null) throw unknownAccount(params.id);
    const { catalog } = await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now));
    const bucket = bucketOf(catalog, body.bucket);
    if (bucket === undefined) {
      throw new ProblemError('unknown_bucket', {
        detail: `Catalog ${catalog.catalog} has no bucket ${body.bucket}; it has ${catalog.buckets.map((one) => one.bucket).join(', ')}.`,
      });
    }
    const reply = await ledger.run(params.id, {
      op: 'adjust',
      key: `req:${key}`,
      hash,
      facts: { v: 1, bucket: bucket.bucket },
      bucket: bucket.bucket,
      rank: bucket.rank,
      amount: body.credits,
      expiresAt: body.expiresAt?.toISOString() ?? null,
      graceSeconds: returnGraceSeconds(bucket),
      source: 'adjustment',
      actor: caller.keyId,
      reason: body.reason,
    });
    if (reply === null) throw unknownAccount(params.id);
    if (reply.status === 'idempotency_conflict') throw keyConflict();
    if (reply.status === 'already_expired') {
      throw invalidField('expiresAt', 'Credits that are added must expire later than now, or never.');
    }
    if (reply.status === 'balance_limit_reached') throw balanceLimitReached();
    if (reply.answer === null) {
      throw new ProblemError('adjustment_exceeds_available', {
        detail: `Bucket ${bucket.bucket} has fewer credits available than this would take.`,
      });
    }
    return { ...renderAdjustment(params.id, reply.answer, body), replayed: reply.replayed };
  });
}

function auditBooks({ db }: LedgerRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/audit',
    summary: 'Check every invariant of the ledger',
    description:
      'Reads the whole ledger; `npm run audit` does the same on any database, without a bound of time, and explains each check. ' +
      'Only one is at work at a time: another is 429 `overloaded`. One whose client has left ends with the check that is at work.',
    tag: 'Ledger',
    scope: 'admin',
    account: 'all',
    errors: ['overloaded'],
    responses: { 200: auditReport },
  }).handle(async ({ signal }) => {
    // A second one would wait for the connection until it is told that the database is away.
    if (db.audits.totalCount > db.audits.idleCount) throw auditAtWork();
    const report = await runAudit(db.audits, { signal, aloneWithinMs: CHECK_WITHIN_MS }).catch(
      (error: unknown) => {
        throw error instanceof AuditAtWork ? auditAtWork() : error;
      },
    );
    return { status: 200, body: showAudit(report) };
  });
}

function auditAtWork(): ProblemError {
  return new ProblemError('overloaded', {
    detail: 'Another audit is at work; only one is at a time. Ask again later, or run `npm run audit`.',
  });
}

/** The same bytes every time. */
function renderAdjustment(account: string, text: string, request: unknown): TextAnswer {
  const { facts, amount, seq, at, available } = JSON.parse(text) as StoredAdjustment; // ledger.apply wrote it
  const body: z.output<typeof adjustment> = {
    account,
    bucket: facts?.bucket ?? String(Reflect.get(Object(request) as object, 'bucket')),
    credits: toCredits(amount),
    seq,
    at: new Date(toMs(at)).toISOString(),
    available: toCredits(available),
  };
  return { status: 201, text: JSON.stringify(body) };
}

function showAudit({ ok, checkedAt, checks }: AuditReport): z.output<typeof auditReport> {
  return {
    ok,
    checkedAt,
    checks: checks.map(({ id, title, violations, sample }) => ({
      id,
      title,
      violations,
      sample: [...sample],
    })),
  };
}
