// The linter is an ES module, which jest cannot load: it reads the document from stdin and prints what it finds as JSON.
import { text } from 'node:stream/consumers';
import { createConfig, lintFromString } from '@redocly/openapi-core';

const config = await createConfig({
  extends: ['recommended'],
  rules: { 'no-invalid-media-type-examples': 'error', 'no-invalid-parameter-examples': 'error' },
});
const found = await lintFromString({ source: await text(process.stdin), config });
process.stdout.write(
  JSON.stringify(found.map(({ ruleId, message, location }) => [ruleId, message, location[0]?.pointer])),
);
