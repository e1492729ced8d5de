import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { archiveMonth, loadArchive } from '../../../db/archive/archive';
import { runAudit } from '../../../db/audit';
import { runQuickAudit } from '../../../db/audit/quick';
import { findGeneration } from '../../../db/generations/generations';
import { live, steps } from '../../support/ledger/busyLedger';
import { type TestDatabase, testDatabase } from '../../support/database';
import { eventually } from '../../support/processes/engine';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';
import { livelyLedger } from '../../support/ledger/livelyLedger';
import { becomesPast, makeMonth, monthAgo, partitionOf, spread } from '../../support/ledger/past';
import { byHand } from '../../support/ledger/byHand';

const [LAST, MIDDLE, FIRST] = [monthAgo(1), monthAgo(2), monthAgo(3)];

let database: TestDatabase;
let ledger: TestLedger;
let directory: string;

beforeEach(async () => {
  database = await testDatabase({ patient: true });
  ledger = ledgerOf(database.db, database.owner);
  directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-archive-'));
});
afterEach(async () => {
  await database.close();
  rmSync(directory, { recursive: true });
});

const asOwner = async (sql: string, values: unknown[] = []) =>
  (await database.owner.pool.query<Record<string, unknown>>(sql, values)).rows;
const archive = (month: string) => archiveMonth({ url: database.url, month, directory });
const fileOf = (month: string) => path.join(directory, `journal-${month}.ndjson.gz`);
const linesOf = (month: string) =>
  gunzipSync(readFileSync(fileOf(month)))
    .toString('utf8')
    .trimEnd()
    .split('\n');
const broken = async () =>
  (await runAudit(database.owner.pool)).checks
    .filter(({ violations }) => violations > 0)
    .map(({ id, sample }) => ({ id, sample }));
const online = async () => (await asOwner('SELECT count(*)::int AS n FROM ledger.journal'))[0]?.['n'];

/** Stops the archive as soon as it has done this step. */
function stoppedAfter(month: string, last: string): Promise<unknown> {
  const onStep = (step: string) => {
    if (step === last) throw new Error(`stopped after ${step}`);
  };
  return archiveMonth({ url: database.url, month, directory, onStep });
}

describe('a month that is archived', () => {
  test('is told by openings from then on, and whatever comes later is rebuilt with them', async () => {
    const account = await livelyLedger(database);
    await spread(database.owner, [FIRST, MIDDLE, LAST]);
    const before = await asOwner('SELECT * FROM ledger.lots_before($1, $2)', [account, '2030-01-01']);
    const totals = await asOwner('SELECT * FROM ledger.totals_before($1, $2)', [account, '2030-01-01']);
    for (const month of [FIRST, MIDDLE, LAST]) {
      const had = Number(await online());
      const { rows } = await archive(month);
      expect(rows).toBeGreaterThan(3);
      expect(await online()).toBe(had - rows);
      expect(await broken()).toEqual([]);
      expect(await asOwner('SELECT * FROM ledger.lots_before($1, $2)', [account, '2030-01-01'])).toEqual(
        before,
      );
      expect(await asOwner('SELECT * FROM ledger.totals_before($1, $2)', [account, '2030-01-01'])).toEqual(
        totals,
      );
    }
    await ledger.charge(account, { amount: 100 });
    expect(await broken()).toEqual([]);
    expect(await runQuickAudit(database.db.pool)).toMatchObject({ ok: true });
  });

  test('may cut any history at any place', async () => {
    const lives = fc.sample(steps, { numRuns: 12, seed: 7 });
    for (const life of lives) await live(ledger, life);
    await spread(database.owner, [FIRST, MIDDLE, LAST]);
    expect(await broken()).toEqual([]);
    for (const month of [FIRST, MIDDLE, LAST]) {
      await archive(month);
      expect(await broken()).toEqual([]);
    }
    expect(await runQuickAudit(database.db.pool)).toMatchObject({ ok: true, accounts: 12 });
  });

  test('is a file that says what it is, row by row, with exact amounts and a digest over all of it', async () => {
    const account = await ledger.open();
    await ledger.grant(account, { amount: 1_000_000_000_000_000 });
    await ledger.charge(account, { amount: 1 });
    await becomesPast(database.owner, LAST);
    const { rows, sha256 } = await archive(LAST);
    const lines = linesOf(LAST);
    const trailer: unknown = JSON.parse(lines.at(-1) ?? '');
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      format: 'holdfast-journal-1',
      month: LAST,
      schema: expect.any(Number),
    });
    expect(trailer).toEqual({
      rows: 2,
      first: expect.stringMatching(`^${LAST}-02T`),
      last: expect.stringMatching(`^${LAST}-`),
      sha256,
    });
    expect(rows).toBe(2);
    const digest = createHash('sha256');
    for (const line of lines.slice(0, -1)) digest.update(`${line}\n`);
    expect(digest.digest('hex')).toBe(sha256);
    expect(lines[2]).toContain('"available_after": 999999999999999');
    expect(
      await asOwner("SELECT to_char(month, 'YYYY-MM') AS month, rows, sha256, file FROM ledger.archives"),
    ).toEqual([{ month: LAST, rows: 2, sha256, file: `journal-${LAST}.ndjson.gz` }]);
  });

  test('forgets no key, no generation and no refund', async () => {
    const account = await ledger.open();
    await ledger.grant(account, { amount: 9_000 });
    const operation = reservation(account, { amount: 4_000 });
    const first = await ledger.one(account, operation);
    await ledger.capture(account, operation.holdId);
    const refund = {
      op: 'refund',
      key: 'req:r',
      hash: 'r',
      holdId: operation.holdId,
      reason: 'sorry',
    } as const;
    await ledger.one(account, { ...refund, spendableSeconds: 60 });
    const find = () => findGeneration(database.db.pool, { account, id: operation.generation.id });
    const before = await find();
    await becomesPast(database.owner, LAST);
    await archive(LAST);
    expect(await ledger.one(account, operation)).toMatchObject({ replayed: true, answer: first.answer });
    expect(await find()).toEqual(before);
    expect(before?.refunds).toHaveLength(1);
  });

  test('is not a past that anybody is told wrongly', async () => {
    const clockAt = '2026-03-01T00:00:00.000Z';
    const account = await ledger.open({ clockAt });
    await ledger.grant(account, { amount: 9_000 });
    await becomesPast(database.owner, LAST);
    await archive(LAST);
    for (const ask of [
      'SELECT * FROM ledger.lots_before($1, $2)',
      'SELECT * FROM ledger.totals_before($1, $2)',
      "SELECT * FROM ledger.statement($1, $2, '2027-01-01')",
    ]) {
      await expect(asOwner(ask, [account, clockAt])).rejects.toThrow(/in an archive/);
      await expect(asOwner(ask, [account, '2026-03-01T00:00:00.000001Z'])).resolves.toHaveLength(
        ask.includes('statement') ? 0 : 1,
      );
    }
  });

  test('is still the truth that the other tables are held against', async () => {
    const account = await livelyLedger(database);
    await becomesPast(database.owner, LAST);
    await archive(LAST);
    const found = async (sql: string) => {
      const client = await database.owner.pool.connect();
      await client.query("BEGIN; SET LOCAL session_replication_role = 'replica'");
      await client.query(sql.replaceAll('$a', account));
      await client.query('COMMIT');
      client.release();
      return (await broken()).map(({ id }) => id);
    };
    expect(
      await found("UPDATE ledger.lots SET expires_at = 'infinity' WHERE account_id = '$a' AND lot_no = 2"),
    ).toContain('rebuild-lot-terms');
    expect(
      await found(
        "UPDATE ledger.holds SET captured = captured - 1, released = released + 1 WHERE account_id = '$a' AND NOT open AND refunded < captured",
      ),
    ).toContain('rebuild-holds');
    expect(
      await found("UPDATE ledger.op_keys SET answer = '{}' WHERE account_id = '$a' AND key = 'req:r'"),
    ).toContain('archived-keys');
    expect(
      await found(
        "UPDATE ledger.lots SET available = available + 1, expired = expired - 1 WHERE account_id = '$a' AND lot_no = 1",
      ),
    ).toContain('rebuild-lots');
    expect(await found("UPDATE ledger.counters SET used = used + 1 WHERE account_id = '$a'")).toContain(
      'counters-equal-journal',
    );
  });
});

describe('an archive that is stopped', () => {
  test.each(['written', 'compared', 'detached'])(
    'after the month is %s leaves it here, and the same command completes it',
    async (step) => {
      await livelyLedger(database);
      await becomesPast(database.owner, LAST);
      const had = await online();
      await expect(stoppedAfter(LAST, step)).rejects.toThrow(`stopped after ${step}`);
      expect(await online()).toBe(had);
      expect(await asOwner('SELECT FROM ledger.archives')).toEqual([]);
      expect(await asOwner('SELECT FROM ledger.openings')).toEqual([]);
      const written = readFileSync(fileOf(LAST));
      expect(await archive(LAST)).toMatchObject({ rows: had, before: false });
      expect(readFileSync(fileOf(LAST)).equals(written)).toBe(true);
      expect(await broken()).toEqual([]);
    },
  );

  test('in the middle of the file leaves nothing that looks like one', async () => {
    await livelyLedger(database);
    await becomesPast(database.owner, LAST);
    writeFileSync(`${fileOf(LAST)}.part`, 'half');
    await archive(LAST);
    expect(readdirSync(directory)).toEqual([path.basename(fileOf(LAST))]);
    expect(await broken()).toEqual([]);
  });

  test.each(['written', 'compared', 'detached', 'committed'])(
    'by the death of its process when the month is %s is completed by the next',
    async (step) => {
      await livelyLedger(database);
      await becomesPast(database.owner, LAST);
      const had = Number(await online());
      const script = `const [path, url, month, directory, last] = process.argv.slice(1);
        const onStep = (step) => { if (step === last) process.kill(process.pid, 'SIGKILL'); };
        require(path).archiveMonth({ url, month, directory, onStep });`;
      const built = path.join(__dirname, '..', '..', '..', 'dist', 'db', 'archive', 'archive.js');
      const killed = spawnSync(process.execPath, ['-e', script, built, database.url, LAST, directory, step]);
      expect(killed.signal).toBe('SIGKILL');
      expect(await online()).toBe(step === 'committed' ? 0 : had);
      // The dead one's session may take a moment to end.
      const done = await eventually(
        () => archive(LAST).catch((error: unknown) => String(error)),
        (answer) => typeof answer !== 'string' || !answer.includes('Another archive'),
      );
      expect(done).toMatchObject({ rows: had, before: step === 'committed' });
      expect(await online()).toBe(0);
      expect(await broken()).toEqual([]);
    },
  );

  test('after all is done says so when it is asked again, and looks at the file', async () => {
    await livelyLedger(database);
    await becomesPast(database.owner, LAST);
    await expect(stoppedAfter(LAST, 'committed')).rejects.toThrow('stopped');
    const rows = linesOf(LAST).length - 2;
    expect(await archive(LAST)).toMatchObject({ rows, before: true });
    const other = linesOf(LAST);
    rmSync(fileOf(LAST));
    await expect(archive(LAST)).rejects.toThrow(/was archived on .* not here/);
    writeFileSync(fileOf(LAST), gzipSync(`${other.slice(0, -2).join('\n')}\n`));
    await expect(archive(LAST)).rejects.toThrow(/is incomplete/);
  });
});

describe('an archive is refused', () => {
  test('for a month that has not ended, not there, not the oldest, or no month', async () => {
    await livelyLedger(database);
    await becomesPast(database.owner, LAST);
    await makeMonth(database.owner, MIDDLE);
    await expect(archive(LAST)).rejects.toThrow(`Month ${MIDDLE} is older`);
    await expect(archive(monthAgo(0))).rejects.toThrow(/has not ended yet/);
    await expect(archive(monthAgo(-1))).rejects.toThrow(/has not ended yet/);
    await expect(archive('2020-01')).rejects.toThrow(/has no month/);
    await expect(archive('January')).rejects.toThrow(/is not a month/);
    expect(await archive(MIDDLE)).toMatchObject({ rows: 0 });
    expect((await archive(LAST)).rows).toBeGreaterThan(0);
  });

  test('when the file is there and is not the month; it is never overwritten', async () => {
    await livelyLedger(database);
    await becomesPast(database.owner, LAST);
    await expect(stoppedAfter(LAST, 'written')).rejects.toThrow('stopped');
    const [header = '', ...rest] = linesOf(LAST);
    const rows = rest.slice(0, -1);
    const had = await online();
    const whole = (lines: string[]) => {
      const text = [header, ...lines].map((line) => `${line}\n`).join('');
      const sha256 = createHash('sha256').update(text).digest('hex');
      return gzipSync(`${text}${JSON.stringify({ rows: lines.length, first: null, last: null, sha256 })}\n`);
    };
    const fakes: [Buffer, RegExp][] = [
      [gzipSync(`${linesOf(LAST).join('\n').replace('100000', '100001')}\n`), /rows do not match/],
      [gzipSync(`${linesOf(LAST).slice(0, -1).join('\n')}\n`), /its end is missing/],
      [readFileSync(fileOf(LAST)).subarray(0, 400), /is incomplete/],
      [whole(rows.slice(1)), /1 row\(s\) of the month/],
      [whole([...rows, rows[0] ?? '']), /the file has \d+ rows and the month/],
      [whole(rows.map((line, n) => (n === 3 ? line.replace('"seq": 4', '"seq": 400') : line))), /2 row\(s\)/],
    ];
    for (const [bytes, message] of fakes) {
      writeFileSync(fileOf(LAST), bytes);
      await expect(archive(LAST)).rejects.toThrow(message);
      expect(readFileSync(fileOf(LAST)).equals(bytes)).toBe(true);
    }
    expect(await online()).toBe(had);
    writeFileSync(fileOf(LAST), whole(rows));
    expect(await archive(LAST)).toMatchObject({ rows: had });
  });

  test('when rows of an account are in another month than their order says', async () => {
    const account = await ledger.open();
    const other = await ledger.open();
    for (const amount of [1_000, 2_000, 3_000]) {
      await ledger.grant(account, { amount });
      await ledger.grant(other, { amount });
    }
    await spread(database.owner, [FIRST, MIDDLE]);
    await byHand(database.owner, (client) =>
      client.query(
        `UPDATE ledger.journal SET recorded_at = CASE seq WHEN 1 THEN '${MIDDLE}-03Z' ELSE '${FIRST}-03Z' END::timestamptz
          WHERE account_id = $1 AND seq < 3`,
        [account],
      ),
    );
    await expect(archive(FIRST)).rejects.toThrow(`account ${account} in ${FIRST} do not follow each other`);
  });

  test('to the application, which can neither archive nor write what archives leave', async () => {
    await livelyLedger(database);
    await becomesPast(database.owner, LAST);
    await archive(LAST);
    for (const sql of [
      "SELECT ledger.archive_month('2026-01-01', 0, '', '', 1)",
      'UPDATE ledger.openings SET available = 0',
      'INSERT INTO ledger.openings SELECT * FROM ledger.openings',
      'DELETE FROM ledger.opening_holds',
      'DELETE FROM ledger.archives',
      `DROP TABLE ${partitionOf(monthAgo(0))}`,
    ]) {
      await expect(database.db.pool.query(sql)).rejects.toThrow(/permission denied|must be owner/);
    }
    for (const table of ['openings', 'opening_holds', 'archives'])
      await expect(asOwner(`DELETE FROM ledger.${table}`)).rejects.toThrow(/append-only/);
  });
});

test('an archive can be looked into: loaded, it is the rows that were archived', async () => {
  await livelyLedger(database);
  await becomesPast(database.owner, LAST);
  await asOwner('CREATE TABLE public.kept AS SELECT * FROM ledger.journal');
  const { rows, sha256 } = await archive(LAST);
  const load = (table: string) => loadArchive({ url: database.url, file: fileOf(LAST), table });
  expect(await load('looked_into')).toEqual({ month: LAST, rows, sha256 });
  const different = await asOwner(
    `(TABLE public.kept EXCEPT TABLE public.looked_into) UNION ALL (TABLE public.looked_into EXCEPT TABLE public.kept)`,
  );
  expect(different).toEqual([]);
  expect(await asOwner('SELECT count(*)::int AS n FROM public.looked_into')).toEqual([{ n: rows }]);

  const [header, ...rest] = linesOf(LAST);
  const text = `${header}\n`;
  const trailer = {
    rows: 0,
    first: null,
    last: null,
    sha256: createHash('sha256').update(text).digest('hex'),
  };
  writeFileSync(fileOf(LAST), gzipSync(`${text}${JSON.stringify(trailer)}\n`));
  expect(rest.length).toBeGreaterThan(1);
  await expect(load('other')).rejects.toThrow(/is not what was archived/);
  expect(await asOwner("SELECT to_regclass('public.other') AS found")).toEqual([{ found: null }]);
});

test('a journal row has no column that the file does not have', async () => {
  await ledger.grant(await ledger.open(), { amount: 1 });
  const [row] = await asOwner(
    `SELECT array_agg(attname::text ORDER BY attname) AS columns,
            (SELECT array_agg(k ORDER BY k) FROM (SELECT to_jsonb(j) AS line FROM ledger.journal j LIMIT 1) l, jsonb_object_keys(line) k) AS keys
       FROM pg_attribute WHERE attrelid = 'ledger.journal'::regclass AND attnum > 0 AND NOT attisdropped`,
  );
  expect(row?.['keys']).toEqual(row?.['columns']);
});
