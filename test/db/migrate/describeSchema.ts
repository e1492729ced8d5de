import type { Pool } from 'pg';

/**
 * The schema as it is, as readable SQL: tables in the order in which one understands them, each column with its comment. Made
 * from the catalogs of a migrated database and the same on every supported version of Postgres.
 */

/** Every table and view there is, in reading order. */
const READING_ORDER = [
  'ledger.accounts',
  'ledger.account_rules',
  'ledger.members',
  'ledger.lots',
  'ledger.holds',
  'ledger.generations',
  'ledger.journal',
  'ledger.op_keys',
  'ledger.kept_answers',
  'ledger.counters',
  'ledger.debts',
  'ledger.freezes',
  'ledger.openings',
  'ledger.opening_holds',
  'ledger.archives',
  'ledger.audit_marks',
  'ledger.audit_lots',
  'ledger.audit_counters',
  'ledger.lines',
  'ledger.events',
  'holdfast.catalogs',
  'holdfast.quotes',
  'holdfast.api_keys',
  'holdfast.request_keys',
  'holdfast.inbox',
  'holdfast.provider_jobs',
  'holdfast.reports',
  'holdfast.operations_items',
  'holdfast.test_clocks',
  'holdfast.usage_spans',
  'holdfast.usage_sums',
  'holdfast.processes',
  'holdfast.passes',
  'holdfast.lost_namespaces',
  'holdfast.migrations',
  'holdfast.migrations_lock',
  'holdfast.schema_compatibility',
  'holdfast.schema_functions',
] as const;

export interface Relation {
  name: string;
  kind: 'table' | 'partitioned table' | 'view';
  comment: string | null;
  options: string | null;
  partitionedBy: string | null;
  columns: Column[];
  constraints: string[];
  indexes: string[];
  triggers: string[];
}

interface Column {
  name: string;
  type: string;
  /** NOT NULL, DEFAULT and GENERATED, as SQL. */
  rest: string;
  comment: string | null;
}

const RELATIONS = `
  SELECT c.oid::regclass::text AS name,
         CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' ELSE 'view' END AS kind,
         obj_description(c.oid, 'pg_class') AS comment, array_to_string(c.reloptions, ', ') AS options,
         pg_get_partkeydef(c.oid) AS "partitionedBy",
         (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'comment', col_description(c.oid, a.attnum),
                   'rest', concat(CASE WHEN a.attnotnull THEN ' NOT NULL' END,
                     CASE WHEN a.attgenerated <> '' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED'
                          WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END)) ORDER BY a.attnum)
            FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
         -- Postgres 18 lists NOT NULL among the constraints, where it stands with its column here.
         (SELECT coalesce(json_agg(pg_get_constraintdef(k.oid) ORDER BY k.contype <> 'p', k.contype, k.conname), '[]')
            FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'c', 'f')) AS constraints,
         (SELECT coalesce(json_agg(pg_get_indexdef(i.indexrelid) ORDER BY i.indexrelid::regclass::text), '[]')
            FROM pg_index i WHERE i.indrelid = c.oid
             AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))) AS indexes,
         (SELECT coalesce(json_agg(pg_get_triggerdef(t.oid) ORDER BY t.tgname), '[]')
            FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) AS triggers
    FROM pg_class c
   WHERE c.relnamespace::regnamespace::text IN ('ledger', 'holdfast') AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition`;

const TYPES = `
  SELECT 'CREATE TYPE ' || t.oid::regtype || ' AS ' || CASE t.typtype
           WHEN 'e' THEN 'ENUM (' || (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) || ')'
           ELSE '(' || (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = t.typrelid) || ')' END AS sql
    FROM pg_type t WHERE t.oid IN ('ledger.part'::regtype, 'ledger.move'::regtype) ORDER BY t.typtype DESC`;

const HEADER = `-- The schema as it is: made from a migrated database by the tests (UPDATE_DOCS=1 npx jest test/db/migrate/schema), never by hand.
-- How it came to be is in migrations/0001_….sql and what follows it; the functions that read and write it are in
-- migrations/functions, where 14_rights.sql says who may do what. Comments are those of the database: \\d+ shows them too.
-- All amounts are millicredits: 1000 are one credit.
`;

/** The column in which comments begin, where there is room. */
const COMMENTS_FROM = 58;

/** What is in the schemas, whatever its order. */
export async function readRelations(pool: Pool): Promise<Relation[]> {
  const { rows } = await pool.query<Relation>(RELATIONS);
  return rows;
}

/** The text of db/schema.sql. Throws where READING_ORDER misses a relation. */
export async function describeSchema(pool: Pool): Promise<string> {
  const relations = await readRelations(pool);
  const missing = relations.filter(({ name }) => !READING_ORDER.some((known) => known === name));
  if (missing.length > 0)
    throw new Error(`READING_ORDER does not have ${missing.map(({ name }) => name).join(', ')}`);
  const { rows: types } = await pool.query<{ sql: string }>(TYPES);
  const ordered = READING_ORDER.flatMap((name) => relations.filter((relation) => relation.name === name));
  return plain(
    [HEADER, types.map(({ sql }) => `${sql};\n`).join(''), ...ordered.map(relationSql)].join('\n'),
  );
}

/** As one would write it: the catalogs spell out every cast and default method. */
function plain(text: string): string {
  return text
    .replaceAll('timestamp with time zone', 'timestamptz')
    .replaceAll(/('(?:[^']|'')*')::(?:timestamptz|text|jsonb|interval)/g, '$1')
    .replaceAll(' USING btree', '')
    .replaceAll(/ CHECK \(\((.*)\)\)(?=,?$)/gm, ' CHECK ($1)');
}

function relationSql(relation: Relation): string {
  const { name, kind, comment, options, partitionedBy, columns, constraints, indexes, triggers } = relation;
  const wide = Math.max(...columns.map((column) => column.name.length));
  const lines = columns.map((column) => ({
    sql: `  ${column.name.padEnd(wide)} ${kind === 'view' ? column.type : `${column.type}${column.rest}`}`,
    comment: column.comment,
  }));
  const all = [...lines, ...constraints.map((sql) => ({ sql: `  ${sql}`, comment: null }))];
  const body = all.map(({ sql, comment: said }, index) => {
    const code = plain(`${sql}${index < all.length - 1 ? ',' : ''}`);
    return said === null ? code : `${code.padEnd(COMMENTS_FROM)} -- ${said}`;
  });
  const end =
    partitionedBy === null
      ? options === null || options === ''
        ? ''
        : ` WITH (${options})`
      : ` PARTITION BY ${partitionedBy}`;
  const head = kind === 'view' ? `-- CREATE VIEW ${name} (` : `CREATE TABLE ${name} (`;
  const shown = kind === 'view' ? body.map((line) => `--${line.slice(1)}`) : body;
  const close = kind === 'view' ? '-- ); -- its query is in migrations/functions/13_past.sql' : `)${end};`;
  const months =
    partitionedBy === null ? [] : ['-- Its partitions are months, made by ledger.ensure_partitions.'];
  const more = [...indexes, ...triggers].map((sql) => `${sql};`);
  return [`-- ${comment ?? ''}`, head, ...shown, close, ...months, ...more, ''].join('\n');
}
