import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseCatalog } from '../../domain/publish/parse';
import { parsed, smallest } from '../domain/catalogs';
import { readProduct } from '../products/product';

describe('docs/catalogs.md', () => {
  const page = readFileSync(path.join(__dirname, '../../docs/catalogs.md'), 'utf8');

  it('has an example that is a valid catalog', () => {
    const [, example = ''] = /```json\n([\s\S]*?)```/.exec(page) ?? [];
    expect(parseCatalog(JSON.parse(example))).toMatchObject({ ok: true });
  });

  it('explains every field', () => {
    const fields = new Set<string>();
    const walk = (value: unknown): void => {
      if (Array.isArray(value)) value.forEach(walk);
      else if (value !== null && typeof value === 'object') Object.entries(value).forEach(visit);
    };
    const named = new Set([
      'prices',
      'allotments',
      'options',
      'params',
      'defaultProvider',
      'provider',
      'facts',
    ]);
    const visit = ([name, value]: [string, unknown]): void => {
      fields.add(name);
      // The keys inside these are ids and names of the catalog's own.
      const limits = name === 'quotas' && !Array.isArray(value);
      if (!named.has(name) && !limits) walk(value);
    };
    for (const id of ['imagineart', 'intangible', 'draftly']) walk(readProduct(id));
    walk(parsed(smallest()));
    expect([...fields].filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });
});
