import type { z } from 'zod';
import { checkAssertions } from './assertions';
import type { Catalog } from './catalog';
import { checkReferences, type Report } from './catalogChecks';
import { CatalogShape } from './catalogSchema';

/** From JSON to a catalog that was checked whole: its fields, then its references, then its own assertions. */

const CatalogSchema = CatalogShape.superRefine((catalog, context) => {
  const report: Report = (path, message) => context.addIssue({ code: 'custom', path, message });
  checkReferences(catalog, report);
  // Prices can be worked out only where every field is right and every name leads somewhere.
  if (context.issues.length === 0) checkAssertions(catalog, report);
});

export type ParsedCatalog =
  | { ok: true; catalog: Catalog }
  | { ok: false; errors: { path: string; message: string }[] };

/** Checks a catalog whole before it counts. Errors name the path and say what must be there. */
export function parseCatalog(json: unknown): ParsedCatalog {
  const parsed = CatalogSchema.safeParse(json, { error: whatIsMissing });
  if (parsed.success) return { ok: true, catalog: parsed.data };
  const errors = parsed.error.issues.flatMap((issue) => {
    const { path, message } = issue;
    if (issue.code !== 'unrecognized_keys') return [{ path: path.join('.'), message }];
    const unknown = 'is no field of a catalog; leave it out, or see docs/catalogs.md for its name';
    return issue.keys.map((key) => ({ path: [...path, key].join('.'), message: unknown }));
  });
  return { ok: false, errors };
}

/** Undefined: zod's own message. */
function whatIsMissing(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== 'invalid_type' || issue.input !== undefined) return undefined;
  return `is missing; it must be there, as ${issue.expected}`;
}
