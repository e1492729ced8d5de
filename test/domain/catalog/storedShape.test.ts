import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseCatalog, readStoredCatalog } from '../../../domain/publish/parse';
import { smallest } from '../catalogs';

const ROOT = path.join(__dirname, '../../..');

describe('a stored catalog', () => {
  it('is read to the same letter as with all checks, whichever catalog it is', () => {
    const files = ['catalogs', 'test/support/catalogs'].flatMap((folder) =>
      readdirSync(path.join(ROOT, folder)).map((name) => path.join(ROOT, folder, name)),
    );
    for (const file of files) {
      const json: unknown = JSON.parse(readFileSync(file, 'utf8'));
      const [checked, stored] = [parseCatalog(json), readStoredCatalog(json)];
      expect(JSON.stringify(stored)).toBe(JSON.stringify(checked.ok ? checked : stored));
    }
  });

  it('is read only where it has the shape of one', () => {
    expect(readStoredCatalog({ ...smallest(), label: 'x'.repeat(1_000), surcharge: 1 })).toMatchObject({
      ok: true,
    });
    expect(readStoredCatalog({ ...smallest(), plans: 'none' })).toMatchObject({
      ok: false,
      errors: [{ path: 'plans' }],
    });
  });
});
