import { z } from 'zod';
import { findUnstorable } from '../http/body';

/** Lists: `?limit=` and `?cursor=` in, `{ data, nextCursor }` out. A cursor is the place of the last row shown. */

export const MAX_PAGE = 100;
export const DEFAULT_PAGE = 20;

/**
 * The query fields of a list whose cursor holds what `place` describes; spread them into the route's own
 * query: `z.strictObject({ ...listFields(place), status: … })`.
 */
export function listFields<P extends z.ZodType>(place: P) {
  return {
    limit: z.number().int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE),
    cursor: z
      .string()
      .max(1024)
      .transform((text, context): z.output<P> => {
        const decoded = decode(text);
        const parsed = place.safeParse(decoded);
        if (parsed.success && findUnstorable(decoded) === null) return parsed.data;
        context.addIssue({ code: 'custom', message: 'This is not a cursor of this list.' });
        return z.NEVER;
      })
      .describe('`nextCursor` of the page before')
      .optional(),
  };
}

export function listOf<S extends z.ZodType>(item: S) {
  return z.object({ data: z.array(item), nextCursor: z.string().nullable() });
}

/** Read one row more than `limit`: whether it came decides whether there is a next page. */
export function page<Row, Item>({
  rows,
  limit,
  place,
  show,
}: {
  rows: readonly Row[];
  limit: number;
  /** What `listFields` was told, of the last row shown. */
  place: (row: Row) => unknown;
  show: (row: Row) => Item;
}): { data: Item[]; nextCursor: string | null } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const nextCursor = last === undefined || rows.length <= limit ? null : encode(place(last));
  return { data: shown.map(show), nextCursor };
}

/**
 * A page of those rows for which `look` finds something to show, where the database cannot tell which they are. It is
 * short only at the end of the list, or where `most` rows were looked at: then `cutShort`, and the list continues.
 */
export async function pageOfSome<Row, Item>({
  read,
  look,
  limit,
  batch,
  most,
  place,
}: {
  /** The next rows after this one, or the first ones. */
  read: (options: { after: Row | null; limit: number }) => Promise<readonly Row[]>;
  look: (row: Row) => Promise<Item | null>;
  limit: number;
  /** Rows read, and looked at, at once. */
  batch: number;
  most: number;
  place: (row: Row) => unknown;
}): Promise<{ data: Item[]; nextCursor: string | null; cutShort: boolean }> {
  const data: Item[] = [];
  let last: Row | null = null;
  for (let looked = 0; looked < most; ) {
    const rows: readonly Row[] = await read({ after: last, limit: batch });
    const found = await Promise.all(rows.map(look));
    for (const [n, row] of rows.entries()) {
      const item = found[n] ?? null;
      // There is one more than fits: the page ends before it, wherever the one before it was.
      if (item !== null && data.length === limit)
        return { data, nextCursor: encodeAfter(last), cutShort: false };
      if (item !== null) data.push(item);
      last = row;
    }
    if (rows.length < batch) return { data, nextCursor: null, cutShort: false };
    looked += rows.length;
  }
  return { data, nextCursor: encodeAfter(last), cutShort: data.length < limit };

  function encodeAfter(row: Row | null): string | null {
    return row === null ? null : encode(place(row));
  }
}

function encode(place: unknown): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

function decode(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    // Not one of ours: what the schema of a place makes of undefined is the error that the caller sees.
    return undefined;
  }
}
