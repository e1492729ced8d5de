import type { z } from 'zod';
import { checkAssertions } from './assertions';
import type { Catalog } from '../catalog/catalog';
import type { Report } from './faults';
import { checkReferences } from './references';
import { CatalogShape } from '../catalog/shape';
import { withoutLimits } from '../catalog/storedShape';

/**
 * From JSON to a catalog, in two ways. What is published is checked whole: its fields, then its references, then its own
 * assertions. What was stored is read by its shape alone, and never refused for what a later release became strict about.
 */

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
  return parsed.success ? { ok: true, catalog: parsed.data } : { ok: false, errors: errorsOf(parsed.error) };
}

const StoredShape = withoutLimits(CatalogShape);

/** Reads a stored version: the shape with its defaults, and no checks. Refused is only what has another shape altogether. */
export function readStoredCatalog(json: unknown): ParsedCatalog {
  const parsed = StoredShape.safeParse(json, { error: whatIsMissing });
  if (!parsed.success) return { ok: false, errors: errorsOf(parsed.error) };
  return { ok: true, catalog: parsed.data as Catalog }; // its shape, field by field; what is more than that nobody looks at
}

function errorsOf(error: z.ZodError): { path: string; message: string }[] {
  return error.issues.flatMap((issue) => {
    const { path, message } = issue;
    if (issue.code !== 'unrecognized_keys') return [{ path: path.join('.'), message }];
    const unknown = 'is not a field of a catalog; leave it out, or see docs/catalogs.md for its name';
    return issue.keys.map((key) => ({ path: [...path, key].join('.'), message: unknown }));
  });
}

/** Undefined: zod's own message. */
function whatIsMissing(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== 'invalid_type' || issue.input !== undefined) return undefined;
  return `is missing; it must be there, as ${issue.expected}`;
}
