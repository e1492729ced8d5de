import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { connectionsOf } from '../../db/connection/connection';
import { parseSettings, SETTING_NAMES } from '../../domain/settings';
import { SEARCH_ATTRIBUTES } from '../../domain/contract';
import {
  type Compose,
  composeProblems,
  entryPoints,
  interpolate,
  type Repository,
  readCompose,
  sourceFileOf,
} from './composeChecks';
import { copiedInto, dockerfileProblems, entryPointOf, isIgnored } from './dockerfileChecks';

const ROOT = path.join(__dirname, '../..');
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

const repository: Repository = {
  exists: (file) => existsSync(path.join(ROOT, file)),
  settings: new Set(SETTING_NAMES),
};
const text = read('docker-compose.yml');
const image = { dockerfile: read('Dockerfile'), dockerignore: read('.dockerignore') };
const problemsOf = (document: unknown) => composeProblems(document, repository);

/** A valid document, changed in one place. */
function changed(change: (services: Record<string, Record<string, unknown>>) => void): unknown {
  const document = readCompose(text);
  const services = z.record(z.string(), z.record(z.string(), z.unknown())).parse(document['services']);
  change(services);
  return { ...document, services };
}

describe('docker-compose.yml', () => {
  const compose = readCompose(text) as Compose; // the first test says so

  it('is a valid document whose parts all exist', () => {
    expect(problemsOf(compose)).toEqual([]);
  });

  it('makes Temporal for the day it is large: what is fixed for ever is not small, and what ended goes within days', () => {
    const values = Object.values(compose.services).flatMap(({ environment }) =>
      Object.entries(environment ?? {}),
    );
    expect(Object.fromEntries(values)).toMatchObject({ NUM_HISTORY_SHARDS: '512', RETENTION: '3d' });
  });

  it('gives every process of ours settings that it accepts', () => {
    const ours = Object.values(compose.services).filter(({ build }) => build !== undefined);
    expect(ours).toHaveLength(3);
    for (const { environment } of ours) {
      const values = Object.entries(environment).map(([name, value]) => [name, interpolate(value)]);
      expect(() => parseSettings(Object.fromEntries(values))).not.toThrow();
    }
  });

  it('lets Postgres take every connection that Temporal, two APIs and three workers may open', () => {
    const { environment = {} } = compose.services['temporal'] ?? {};
    const perService = Number(environment['SQL_MAX_CONNS']) + Number(environment['SQL_VIS_MAX_CONNS']);
    const { dbPool } = parseSettings({ DATABASE_URL: 'postgres://nobody@nowhere/none' });
    const reserved = 10; // for superusers, migrations and audits by hand
    const wanted = 4 * perService + (2 + 3) * connectionsOf(dbPool) + reserved;
    const { command } = compose.services['postgres'] ?? {};
    const most = Number(/max_connections=(\d+)/.exec(String(command))?.[1]);
    expect(wanted).toBeGreaterThan(0);
    expect(wanted).toBeLessThanOrEqual(most);
  });

  it('registers exactly the search attributes that the workflows set', () => {
    const registered =
      compose.services['temporal-namespace']?.environment['SEARCH_ATTRIBUTES']?.split(' ') ?? [];
    expect(registered.toSorted()).toEqual(Object.values(SEARCH_ATTRIBUTES).toSorted());
  });

  it('makes an owner for each of the two databases, whom the others connect as', () => {
    const script = read('dev/compose/postgres-init.sh');
    for (const role of ['holdfast', 'temporal']) expect(script).toContain(`CREATE ROLE ${role} LOGIN`);
    for (const database of ['holdfast', 'temporal', 'temporal_visibility']) {
      expect(script).toContain(`CREATE DATABASE ${database} OWNER`);
    }
  });
});

describe('the check of docker-compose.yml', () => {
  it.each([
    ['a misspelt key', 'api', { depend_on: {} }, /depend_on/],
    ['a command that YAML read as a mapping', 'api', { command: ['node', { dist: 1 }] }, /command/],
    [
      'a service that is waited for and not there',
      'api',
      { depends_on: { redis: { condition: 'service_started' } } },
      /redis/,
    ],
    [
      'waiting for the health of what has no check',
      'api',
      { depends_on: { worker: { condition: 'service_healthy' } } },
      /health check/,
    ],
    [
      'waiting for the end of what never ends',
      'api',
      { depends_on: { worker: { condition: 'service_completed_successfully' } } },
      /never completes/,
    ],
    [
      'a circle',
      'postgres',
      { depends_on: { setup: { condition: 'service_completed_successfully' } } },
      /waits for itself/,
    ],
    ['a volume that is not declared', 'worker', { volumes: ['cache:/cache'] }, /cache is not declared/],
    [
      'a mounted file that is not there',
      'worker',
      { volumes: ['./dev/compose/none.sh:/none.sh:ro'] },
      /none\.sh/,
    ],
    ['a mount that could be written to', 'worker', { volumes: ['./dev:/dev-scripts'] }, /could write/],
    ['an image without a version', 'temporal-ui', { image: 'temporalio/ui:latest' }, /not pinned/],
    [
      'admin tools of another version',
      'temporal-schema',
      { image: 'temporalio/admin-tools:1.30.0' },
      /differ/,
    ],
    ['a port for everybody', 'api', { ports: ['3000:3000'] }, /open to other machines/],
    [
      'a port for everybody, said at length',
      'api',
      { ports: ['0.0.0.0:3000:3000'] },
      /open to other machines/,
    ],
    ['an entry point without a source', 'worker', { command: ['node', 'dist/worker.js'] }, /has no source/],
    [
      'a variable that nothing reads',
      'worker',
      { environment: { HOLDFAST_ADMINKEY: 'x' } },
      /HOLDFAST_ADMINKEY/,
    ],
    [
      'an address of no service',
      'worker',
      { environment: { TEMPORAL_ADDRESS: 'localhost:7233' } },
      /localhost/,
    ],
    [
      'a secret without a default',
      'worker',
      { environment: { DATABASE_URL: 'postgres://u:${PW}@postgres/d' } },
      /PW from \.env/,
    ],
    ['a duration that is none', 'worker', { stop_grace_period: '1 minute' }, /duration/],
  ])('finds %s', (_, service, change, problem) => {
    const document = changed((services) => Object.assign(services[service] ?? {}, change));
    expect(problemsOf(document)).toContainEqual(expect.stringMatching(problem));
  });

  it('finds a volume that nobody mounts', () => {
    const document = changed((services) => Object.assign(services['postgres'] ?? {}, { volumes: [] }));
    expect(problemsOf(document)).toContain('volume postgres-data is never mounted');
  });
});

describe('Dockerfile', () => {
  it('copies only what is there, from stages that are there, and does not run as root', () => {
    expect(dockerfileProblems(image, repository)).toEqual([]);
  });

  it('starts what docker-compose.yml starts as the API', () => {
    const { api } = (readCompose(text) as Compose).services; // checked above
    expect(entryPoints(api ?? {})).toEqual([entryPointOf(image.dockerfile)]);
  });

  it('holds the source of every entry point, and what they read at run time', () => {
    const built = z
      .object({ include: z.array(z.string()) })
      .parse(JSON.parse(read('tsconfig.build.json'))).include;
    const copied = copiedInto('build', image.dockerfile);
    expect(built.filter((folder) => !copied.includes(folder))).toEqual(['bench']);
    const entries = Object.values((readCompose(text) as Compose).services).flatMap(entryPoints); // checked above
    expect(
      entries.map(sourceFileOf).filter((source) => !copied.some((folder) => source.startsWith(`${folder}/`))),
    ).toEqual([]);
    expect(copiedInto('runtime', image.dockerfile)).toEqual(
      expect.arrayContaining(['db/migrations', 'catalogs', '/app/dist']),
    );
  });

  it('keeps secrets, data and local builds out of the image', () => {
    for (const file of [
      '.env',
      '.git/config',
      '.holdfast/admin-key',
      'node_modules/pg/package.json',
      'dist/api/main.js',
    ]) {
      expect([file, isIgnored(file, image.dockerignore)]).toEqual([file, true]);
    }
  });
});

describe('the check of Dockerfile', () => {
  it.each([
    ['a source that is not there', 'COPY api ./api', 'COPY apis ./apis', /apis, which there is not/],
    ['a source that .dockerignore keeps out', 'COPY api ./api', 'COPY README.md ./', /README\.md/],
    ['a stage that is not there', '--from=build /app/dist', '--from=builder /app/dist', /builder/],
    [
      'an image without a version',
      'FROM node:22.20.0-bookworm-slim AS runtime',
      'FROM node:lts AS runtime',
      /not pinned/,
    ],
    ['a process run as root', 'USER node', 'USER root', /as root/],
    ['a process run as whoever the base image says', 'USER node\n', '', /as root/],
    ['an entry point without a source', 'dist/api/main.js', 'dist/api/server.js', /has no source/],
  ])('finds %s', (_, before, after, problem) => {
    expect(image.dockerfile).toContain(before);
    const dockerfile = image.dockerfile.replace(before, after);
    const everything: Pick<Repository, 'exists'> = {
      exists: (file) => file === 'README.md' || repository.exists(file),
    };
    expect(dockerfileProblems({ ...image, dockerfile }, everything)).toContainEqual(
      expect.stringMatching(problem),
    );
  });
});
