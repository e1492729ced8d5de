import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { accountRoutes } from '../../../../api/resources/accounts/accounts';
import { ledgerRoutes } from '../../../../api/resources/books/journal';
import { statementRoutes } from '../../../../api/resources/books/statement';
import { usageRoutes } from '../../../../api/resources/books/usage';
import { archiveMonth } from '../../../../db/archive/archive';
import { createCatalogStore, publishCatalog, readCatalog } from '../../../../db/catalogs/catalogs';
import { createLedger } from '../../../../db/ledger/ledger';
import { testDatabase } from '../../../support/database';
import { ledgerOf } from '../../../support/ledger/ledger';
import { becomesPast, monthAgo } from '../../../support/ledger/past';
import { startApp } from '../../app';

test('what is archived is 410 and says until when; what comes after it is answered as before', async () => {
  const database = await testDatabase();
  const { db, owner, url } = database;
  const file = path.join(__dirname, '..', '..', '..', '..', 'catalogs', 'imagineart.json');
  await publishCatalog(db.knex, { catalog: readCatalog(file) });
  const catalogs = createCatalogStore(db);
  const ledger = createLedger({ pool: db.pool, catalogs, ring: () => undefined });
  const deps = { db, ledger, catalogs };
  const app = await startApp({
    db,
    routes: [accountRoutes, ledgerRoutes, statementRoutes, usageRoutes].flatMap((make) => make(deps)),
  });
  try {
    const clockAt = '2026-03-01T10:00:00Z';
    await ledger.open({ account: 'ada', catalog: 'imagineart', plan: 'free', planSource: 'free', clockAt });
    await ledger.balance('ada');
    await ledgerOf(db, owner).grant('ada', { amount: 5_000 });
    await ledger.moveClock('ada', '2026-03-09T00:00:00Z');
    const call = (path: string) => app.call('GET', `/v1/${path}`);
    const ask = (what: string) => call(`accounts/ada/${what}`);
    const after = 'balance?at=2026-03-01T10:00:00Z';
    const before = (await ask(after)).body;
    expect(before).toMatchObject({ available: 105 });
    await becomesPast(owner, monthAgo(1));
    const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-archive-'));
    await archiveMonth({ url, month: monthAgo(1), directory });
    for (const what of [
      'accounts/ada/balance?at=2026-03-01T09:59:59Z',
      'accounts/ada/statement?from=2026-02-01&to=2026-04-01',
      'accounts/ada/statement?from=2026-03-01T10:00:00Z',
      'usage?account=ada&from=2026-03-01',
    ]) {
      const reply = await call(what);
      expect([reply.status, reply.body['code']]).toEqual([410, 'history_archived']);
      expect(reply.body['until']).toBe('2026-03-01T10:00:00.000Z');
    }
    expect((await ask(after)).body).toEqual(before);
    const rest = await call('usage?account=ada&from=2026-03-01T10:00:00.001Z');
    expect(rest.body['total']).toEqual({ credits: 0, generations: 0, outputs: 0 });
  } finally {
    await app.close();
    await database.close();
  }
});
