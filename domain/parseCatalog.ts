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
  const parsed = CatalogSchema.safeParse(json);
  if (parsed.success) return { ok: true, catalog: parsed.data };
  const errors = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  return { ok: false, errors };
}
