import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { CatalogShape } from '../../domain/catalog/shape';

const FILE = path.join(__dirname, '../../docs/catalog.schema.json');

test('docs/catalog.schema.json is the schema that files are checked with (UPDATE_DOCS=1 writes it again)', () => {
  const schema = {
    title: 'A Holdfast catalog',
    ...z.toJSONSchema(CatalogShape, { io: 'input', unrepresentable: 'throw' }),
  };
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(FILE, `${JSON.stringify(schema, null, 2)}\n`);
  expect(JSON.parse(readFileSync(FILE, 'utf8'))).toEqual(JSON.parse(JSON.stringify(schema)));
});
