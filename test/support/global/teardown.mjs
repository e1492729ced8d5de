import { rmSync } from 'node:fs';

export default async function teardown() {
  const { postgres, temporal, directory } = globalThis.holdfastTestServers;
  await Promise.all([postgres.stop(), temporal.stop()]);
  for (const place of [directory, postgres.dataPath]) rmSync(place, { recursive: true, force: true });
}
