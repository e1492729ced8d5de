import { z } from 'zod';
import { JOURNAL_KINDS, type JournalEntry, PARTS } from '../../../db/books/journal';
import { type MilliCredits, toCredits } from '../../../domain/credits';
import { type Columns, csvFields } from '../../routing/csv';
import { listFields } from '../../routing/pagination';
import { creditsOut, instantOut, rangeFields, shown } from '../../routing/schemas';

/** The journal as it is asked for and shown, as JSON and as CSV. */

/** Lots are numbered by the database with four bytes. */
const MAX_LOT = 2_147_483_647;
/** A caller's key, or one of ours with its prefix. */
const MAX_SHOWN_KEY = 260;

const { limit, cursor } = listFields(z.object({ seq: z.int().positive() }));

export const journalQuery = z.strictObject({
  limit: limit.unwrap().optional(),
  cursor,
  kind: z.enum(JOURNAL_KINDS).optional(),
  generation: z.string().max(128).optional(),
  lot: z.number().int().positive().max(MAX_LOT).optional(),
  key: z.string().max(MAX_SHOWN_KEY).optional().describe('As it is shown'),
  ...rangeFields,
  ...csvFields,
});

export const lotChanges = z
  .array(z.object({ lot: z.string(), bucket: z.string(), credits: creditsOut }))
  .describe('The change of what each lot has available; together that is `credits`');

export const journalEntry = z
  .object({
    seq: z.number(),
    at: instantOut,
    recordedAt: instantOut,
    kind: z.enum(JOURNAL_KINDS),
    key: z.string().nullable(),
    status: z.string().describe('`applied`, or the code of the refusal'),
    credits: creditsOut.describe('The change of what is available'),
    availableAfter: creditsOut,
    heldAfter: creditsOut,
    debtAfter: creditsOut,
    lots: lotChanges,
    moves: z.array(
      z.object({ lot: z.string(), from: z.enum(PARTS), to: z.enum(PARTS), credits: creditsOut }),
    ),
    generation: z.string().nullable(),
    hold: z.string().nullable(),
    actor: z.string().nullable(),
    reason: z.string().nullable(),
    phase: z.string().optional().describe('Phase that a capture was for, if it names one'),
  })
  .meta({ id: 'JournalEntry' });

/** With its amount in credits, which comes last. */
export function inCredits<T extends { creditsMilli: MilliCredits }>({
  creditsMilli,
  ...one
}: T): Omit<T, 'creditsMilli'> & { credits: number } {
  return { ...one, credits: toCredits(creditsMilli) };
}

export function showEntry(row: JournalEntry): z.output<typeof journalEntry> {
  const { seq, at, recordedAt, kind, status, key, creditsMilli, ...rest } = row;
  return {
    seq,
    at: shown(at),
    recordedAt: shown(recordedAt),
    kind,
    status,
    key,
    credits: toCredits(creditsMilli),
    ...rest,
    availableAfter: toCredits(row.availableAfter),
    heldAfter: toCredits(row.heldAfter),
    debtAfter: toCredits(row.debtAfter),
    lots: row.lots.map(inCredits),
    moves: row.moves.map(inCredits),
  };
}

export const journalColumns: Columns<JournalEntry> = {
  seq: ({ seq }) => seq,
  at: ({ at }) => shown(at),
  recordedAt: ({ recordedAt }) => shown(recordedAt),
  kind: ({ kind }) => kind,
  status: ({ status }) => status,
  credits: ({ creditsMilli }) => toCredits(creditsMilli),
  availableAfter: ({ availableAfter }) => toCredits(availableAfter),
  heldAfter: ({ heldAfter }) => toCredits(heldAfter),
  debtAfter: ({ debtAfter }) => toCredits(debtAfter),
  lots: ({ lots }) => lotsCell(lots),
  generation: ({ generation }) => generation,
  hold: ({ hold }) => hold,
  key: ({ key }) => key,
  actor: ({ actor }) => actor,
  reason: ({ reason }) => reason,
};

/** `pack 3: -100; daily 1: -5` */
export function lotsCell(lots: JournalEntry['lots']): string {
  return lots
    .map(({ lot, bucket, creditsMilli }) => `${bucket} ${lot}: ${toCredits(creditsMilli)}`)
    .join('; ');
}
