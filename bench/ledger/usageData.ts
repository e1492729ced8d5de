import { Client } from 'pg';

/** Generations for the usage bench: a month of them on accounts of several sizes, lying between each other as they would. */

export const DAYS = 30;
export const FIRST_DAY = '2026-01-01Z';
/** Milliseconds by how many generations the account has in the month. */
export const SIZES = [1_000, 10_000, 100_000, 1_000_000] as const;
/** For every other account. */
const OTHERS = 1_000;

export const accountOfSize = (size: number) => `usage-${size}`;

/** Each is a reserve and a capture, a hold and a generation, with one of 3 actions, 12 models, 20 members and 200 projects. */
export async function fillUsage({
  databaseUrl,
  generations,
}: {
  databaseUrl: string;
  generations: number;
}): Promise<string> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  const startedMs = performance.now();
  const others = Math.max(0, Math.floor((generations - SIZES.reduce((sum, size) => sum + size, 0)) / OTHERS));
  await client.query('CREATE TEMP TABLE filled (account text PRIMARY KEY, generations int NOT NULL)');
  await client.query(
    `INSERT INTO filled SELECT 'usage-' || size, size FROM unnest($1::int[]) size
      UNION ALL SELECT 'other-' || i, $2 FROM generate_series(1, $3::int) i`,
    [SIZES, OTHERS, others],
  );
  await client.query(
    `INSERT INTO ledger.accounts (account_id, seq, journal_at)
     SELECT account, 2 * generations, '${FIRST_DAY}'::timestamptz + interval '${DAYS} days' FROM filled`,
  );
  await client.query(
    `INSERT INTO ledger.account_rules (account_id, catalog, plan, plan_source, anchor, created_at)
     SELECT account, 'imagineart', 'free', 'free', '${FIRST_DAY}', '${FIRST_DAY}' FROM filled`,
  );
  await client.query(
    `INSERT INTO ledger.lots (account_id, lot_no, bucket, rank, effective_at, source, granted, available, spent)
     SELECT account, n, CASE n WHEN 1 THEN 'pack' ELSE 'daily' END, n, '${FIRST_DAY}', 'bench', 1000000000000, 0, 1000000000000
       FROM filled, generate_series(1, 2) n`,
  );
  for (let day = 0; day < DAYS; day += 1) {
    // Numbered within the account; `g` is when it ends, so that accounts lie between each other.
    await client.query('DROP TABLE IF EXISTS made');
    await client.query(
      `CREATE TEMP TABLE made AS
       SELECT account, n, md5(account || ':' || n) AS name, '${FIRST_DAY}'::timestamptz + (n - 0.5) * interval '${DAYS} days' / generations AS at
         FROM filled, generate_series(generations::bigint * ${day} / ${DAYS} + 1, generations::bigint * (${day} + 1) / ${DAYS}) n
        ORDER BY at`,
    );
    await client.query(
      `INSERT INTO ledger.journal (account_id, seq, at, recorded_at, kind, status, key, hold_id, credits, available_after, held_after,
                                   debt_after, moves, detail)
       SELECT account, 2 * n - s, at, clock_timestamp(), CASE s WHEN 1 THEN 'reserve' ELSE 'capture' END, 'applied',
              CASE s WHEN 1 THEN 'req:' || name ELSE 'sys:capture:hold_' || account || '.' || name END, 'hold_' || account || '.' || name,
              -2000 * s, 1000000, 2000 * s, 0,
              ARRAY[ROW(1 + n % 2, CASE s WHEN 1 THEN 'available' ELSE 'held' END, CASE s WHEN 1 THEN 'held' ELSE 'spent' END, 2000)::ledger.move],
              CASE s WHEN 1 THEN jsonb_build_object('generation', 'gen_' || account || '.' || name) ELSE '{"final": true}' END
         FROM made, generate_series(0, 1) s ORDER BY at, s DESC`,
    );
    await client.query(
      `INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, captured, lots, lots_held, lots_captured, open,
                                 workflow_id, opened_at, overdue_at, closed_at)
       SELECT account, 'hold_' || account || '.' || name, 'gen_' || account || '.' || name, 2000, 0, 2000, ARRAY[1 + n % 2], '{0}', '{2000}', false,
              'gen_' || account || '.' || name, at, at, at
         FROM made ORDER BY at`,
    );
    await client.query(
      `INSERT INTO ledger.generations (account_id, generation_id, hold_id, key, status, action, model, params, ordered, member, project, feature,
                                       provider, quoted, draws, outputs, catalog_version, workflow_id, created_at, finished_at)
       SELECT account, 'gen_' || account || '.' || name, 'hold_' || account || '.' || name, 'req:' || name, 'succeeded',
              'action-' || n % 3, 'model-' || n % 12, jsonb_build_object('outputs', 1, 'resolution', 1 + n % 4 || 'K'), 1,
              'member-' || n % 20, 'project-' || n % 200, 'editor', '{"type": "simulated"}', 2000, '[{"bucket": "pack", "milli": 2000}]',
              '[{"index": 0, "status": "succeeded", "url": "https://cdn.example/0123456789abcdef.png"}]', 1, 'gen_' || account || '.' || name, at, at
         FROM made ORDER BY at`,
    );
  }
  await client.query('VACUUM ANALYZE');
  await client.end();
  return `done in ${Math.round((performance.now() - startedMs) / 1000)} s`;
}
