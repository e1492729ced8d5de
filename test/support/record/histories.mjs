/**
 * Records workflow histories for test/workflows/replay.test.ts from an engine that runs: `node
 * test/support/record/histories.mjs <temporal address> <workflow id> <name> …`. Only for a way of going that has no
 * history yet; never to make a replay test pass.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findTemporal } from '../../../dev/temporal.mjs';

const [address, ...pairs] = process.argv.slice(2);
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', path.sep);
const directory = path.join(root, 'test', 'workflows', 'histories');
const temporal = await findTemporal();
for (let n = 0; n < pairs.length; n += 2) {
  const [workflow, run] = pairs[n].split('@');
  const args = ['workflow', 'show', '--address', address, '--workflow-id', workflow, '--output', 'json'];
  const history = execFileSync(temporal, run === undefined ? args : [...args, '--run-id', run], {
    encoding: 'utf8',
  });
  // Where it was recorded is nobody's business.
  const cleaned = history.replaceAll(root, '').replace(/"identity": "[^"]*"/g, '"identity": "recorded"');
  writeFileSync(path.join(directory, `${pairs[n + 1]}.json`), `${JSON.stringify(JSON.parse(cleaned))}\n`);
}
