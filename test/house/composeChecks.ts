import { parse } from 'yaml';
import { z } from 'zod';

/** What `docker compose config` would refuse, and what only a first start would show, found without Docker. */

/** What the files of the repository say; a test may say otherwise. */
export interface Repository {
  exists(path: string): boolean;
  /** Environment variables that our processes read. */
  settings: ReadonlySet<string>;
}

const Strings = z.array(z.string());
const Condition = z.enum(['service_started', 'service_healthy', 'service_completed_successfully']);
const Duration = z.string().regex(/^\d+(?:ms|s|m)$/, 'must be a duration such as 30s');

/** The part of the Compose specification that we use: a key that is not here is a spelling mistake or news. */
const Service = z.strictObject({
  build: z.string().optional(),
  image: z.string(),
  command: Strings.optional(),
  entrypoint: Strings.optional(),
  environment: z.record(z.string(), z.string()).default({}),
  ports: Strings.default([]),
  volumes: Strings.default([]),
  depends_on: z.record(z.string(), z.strictObject({ condition: Condition })).default({}),
  healthcheck: z
    .strictObject({
      test: Strings,
      interval: Duration,
      timeout: Duration,
      retries: z.int().positive(),
      start_period: Duration.optional(),
    })
    .optional(),
  restart: z.string().regex(/^(?:no|always|unless-stopped|on-failure(?::\d+)?)$/),
  init: z.boolean().optional(),
  read_only: z.boolean().optional(),
  tmpfs: Strings.optional(),
  cap_drop: Strings.optional(),
  security_opt: Strings.optional(),
  shm_size: z.string().optional(),
  stop_grace_period: Duration.optional(),
});
const Compose = z.strictObject({
  name: z.string(),
  services: z.record(z.string(), Service),
  volumes: z.record(z.string(), z.null()).default({}),
});

type Service = z.infer<typeof Service>;
export type Compose = z.infer<typeof Compose>;

/** The document with its anchors merged and its `x-` extensions gone, as Compose itself reads it. */
export function readCompose(text: string): Record<string, unknown> {
  const document = z.record(z.string(), z.unknown()).parse(parse(text, { merge: true }));
  return Object.fromEntries(Object.entries(document).filter(([key]) => !key.startsWith('x-')));
}

/** Everything wrong with the document, as sentences. */
export function composeProblems(document: unknown, repository: Repository): string[] {
  const parsed = Compose.safeParse(document);
  if (!parsed.success) return parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  const { services, volumes } = parsed.data;
  const mounted = Object.values(services).flatMap((service) => service.volumes.map(sourceOf));
  return [
    ...Object.entries(services).flatMap(([name, service]) =>
      [
        ...dependencyProblems(service, services),
        ...mountProblems(service, { volumes, repository }),
        ...imageProblems(service),
        ...portProblems(service),
        ...variableProblems(service, { services, repository }),
        ...entryPoints(service).flatMap((entry) =>
          repository.exists(sourceFileOf(entry)) ? [] : [`${entry} has no source`],
        ),
      ].map((problem) => `${name}: ${problem}`),
    ),
    ...Object.keys(volumes).flatMap((volume) =>
      mounted.includes(volume) ? [] : [`volume ${volume} is never mounted`],
    ),
    ...cycleProblems(services),
    ...versionProblems(services),
  ];
}

function dependencyProblems({ depends_on }: Service, services: Compose['services']): string[] {
  return Object.entries(depends_on).flatMap(([name, { condition }]) => {
    const needed = services[name];
    if (needed === undefined) return [`depends on ${name}, which there is not`];
    if (condition === 'service_healthy' && needed.healthcheck === undefined)
      return [`${name} has no health check`];
    const ends = needed.restart === 'no' || needed.restart.startsWith('on-failure');
    return condition === 'service_completed_successfully' && !ends
      ? [`${name} is restarted and never completes`]
      : [];
  });
}

function mountProblems(
  service: Service,
  known: { volumes: Compose['volumes']; repository: Repository },
): string[] {
  return service.volumes.flatMap((mount) => {
    const source = sourceOf(mount);
    if (!source.startsWith('.')) return source in known.volumes ? [] : [`volume ${source} is not declared`];
    if (!known.repository.exists(source.replace(/^\.\//, '')))
      return [`mounts ${source}, which there is not`];
    return mount.endsWith(':ro') ? [] : [`could write to ${source}`];
  });
}

const sourceOf = (mount: string) => mount.split(':')[0] ?? '';

function imageProblems({ image, build }: Service): string[] {
  return build !== undefined || isPinned(image) ? [] : [`image ${image} is not pinned to a version`];
}

/** A tag with at least major and minor version. */
export function isPinned(image: string): boolean {
  return /:v?\d+\.\d+[\w.-]*$/.test(image);
}

function portProblems({ ports }: Service): string[] {
  return ports.flatMap((port) =>
    /^127\.0\.0\.1:[^:]*(?::-\d+\})?:\d+$/.test(port) ? [] : [`port ${port} is open to other machines`],
  );
}

/** Variables whose value names another container. */
const ADDRESSES = new Set(['TEMPORAL_ADDRESS', 'SQL_HOST', 'POSTGRES_SEEDS', 'DATABASE_URL']);

function variableProblems(
  service: Service,
  known: { services: Compose['services']; repository: Repository },
): string[] {
  const unknown =
    service.build === undefined
      ? []
      : Object.keys(service.environment).filter((name) => !known.repository.settings.has(name));
  const lost = Object.entries(service.environment).filter(
    ([name, value]) => ADDRESSES.has(name) && !(hostOf(value) in known.services),
  );
  const texts = [...Object.values(service.environment), ...service.ports, service.image];
  const bare = texts.flatMap((text) => [...text.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name));
  return [
    ...unknown.map((name) => `sets ${name}, which no process reads`),
    ...lost.map(([name, value]) => `${name} names ${hostOf(value)}, which is not a service`),
    ...bare.map((name) => `needs ${name} from .env; give it a default`),
  ];
}

function hostOf(address: string): string {
  return interpolate(address)
    .replace(/^.*@/, '')
    .replace(/[:/].*$/, '');
}

/** The value without an .env file: every `${NAME:-default}` becomes its default. */
export function interpolate(text: string): string {
  return text.replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1');
}

/** The compiled entry points that a container of ours runs. */
export function entryPoints({ command = [] }: Pick<Service, 'command'>): string[] {
  return command.filter((argument) => argument.startsWith('dist/'));
}

export function sourceFileOf(entry: string): string {
  return entry.replace(/^dist\//, '').replace(/\.js$/, '.ts');
}

function cycleProblems(services: Compose['services']): string[] {
  const reaches = (from: string, target: string, seen: ReadonlySet<string>): boolean =>
    Object.keys(services[from]?.depends_on ?? {}).some(
      (next) => next === target || (!seen.has(next) && reaches(next, target, new Set([...seen, next]))),
    );
  return Object.keys(services).flatMap((name) =>
    reaches(name, name, new Set()) ? [`${name} waits for itself`] : [],
  );
}

/** Admin tools of another version would set up another schema than the server wants. */
function versionProblems(services: Compose['services']): string[] {
  const images = Object.values(services).flatMap(
    ({ image }) => /^temporalio\/(?:server|admin-tools):(.+)$/.exec(image)?.[1] ?? [],
  );
  return new Set(images).size > 1 ? [`Temporal's server and admin tools differ: ${images.join(', ')}`] : [];
}
