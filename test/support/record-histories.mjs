/**
 * Records workflow histories for test/workflows/replay.test.ts from an engine that runs: `node
 * test/support/record-histories.mjs <temporal address> <workflow id> <name> …`. Only for workflow code that is meant to
 * stay compatible with what is recorded; never to make a replay test pass.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

const [address, ...pairs] = process.argv.slice(2);
const directory = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'workflows', 'histories');
const connection = await Connection.connect({ address });
const client = new Client({ connection });
for (let n = 0; n < pairs.length; n += 2) {
  const history = await client.workflow.getHandle(pairs[n]).fetchHistory();
  writeFileSync(path.join(directory, `${pairs[n + 1]}.json`), `${historyToJSON(history)}\n`);
}
await connection.close();
