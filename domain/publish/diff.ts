import type { Catalog } from '../catalog/catalog';
import { canonicalJson } from '../ids';

/** What one version of a catalog says that another does not, by path; members of lists go by their ids. Pure. */

export interface Change {
  /** `plans.basic.prices.month`, `actions.image.models.flux.rates.{"resolution":"2K"}.credits` */
  path: string;
  /** Null: it is not there. */
  before: unknown;
  after: unknown;
}

export function catalogChanges(before: Catalog | null, after: Catalog): Change[] {
  if (before === null) return [{ path: '', before: null, after: after.catalog }];
  return changesIn(before, after, []);
}

function changesIn(before: unknown, after: unknown, path: string[]): Change[] {
  const [old, now] = [membersOf(before, path.at(-1)), membersOf(after, path.at(-1))];
  if (old !== null && now !== null) {
    const names = new Set([...old.keys(), ...now.keys()]);
    return [...names].flatMap((name) => changesIn(old.get(name), now.get(name), [...path, name]));
  }
  if (canonicalJson(before) === canonicalJson(after)) return [];
  return [{ path: path.join('.'), before: before ?? null, after: after ?? null }];
}

const ID_OF: Readonly<Record<string, string>> = {
  buckets: 'bucket',
  quotas: 'quota',
  plans: 'plan',
  packs: 'pack',
  actions: 'action',
  models: 'model',
  phases: 'phase',
};

/** What is compared inside; null for what is compared as a whole. */
function membersOf(value: unknown, list: string | undefined): Map<string, unknown> | null {
  if (value === null || typeof value !== 'object') return null;
  if (!Array.isArray(value)) return new Map(Object.entries(value));
  if (value.length > 0 && value.every((one) => typeof one !== 'object')) return null;
  return new Map(value.map((one: unknown, n) => [nameOf(one, list) ?? String(n), one]));
}

function nameOf(member: unknown, list: string | undefined): string | null {
  if (list === 'rates') return canonicalJson(Reflect.get(Object(member) as object, 'params'));
  const id: unknown = Reflect.get(Object(member) as object, ID_OF[list ?? ''] ?? '');
  return typeof id === 'string' ? id : null;
}
