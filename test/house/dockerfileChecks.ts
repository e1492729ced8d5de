import { isPinned, type Repository, sourceFileOf } from './composeChecks';

/** What a build of the image would refuse, found without Docker. */

interface Instruction {
  name: string;
  args: string[];
}

export interface Image {
  dockerfile: string;
  dockerignore: string;
}

/** Everything wrong with the Dockerfile, as sentences. */
export function dockerfileProblems(
  { dockerfile, dockerignore }: Image,
  { exists }: Pick<Repository, 'exists'>,
): string[] {
  const problems: string[] = [];
  const stages: string[] = [];
  let user = 'root';
  for (const { name, args } of instructionsOf(dockerfile)) {
    const [first = '', second, third] = args;
    if (name === 'FROM') {
      if (!isPinned(first) && !stages.includes(first)) problems.push(`${first} is not pinned to a version`);
      if (second?.toUpperCase() === 'AS' && third !== undefined) stages.push(third);
      user = 'root';
    }
    if (name === 'USER') user = first;
    if (name === 'COPY') problems.push(...copyProblems(args, { stages, exists, dockerignore }));
    if (name === 'CMD' && !exists(sourceFileOf(entryPointOf(dockerfile))))
      problems.push(`CMD starts ${entryPointOf(dockerfile)}, which has no source`);
  }
  if (user === 'root' || user === '0') problems.push('the image runs as root');
  return problems;
}

function copyProblems(
  args: readonly string[],
  known: { stages: readonly string[]; exists: (path: string) => boolean; dockerignore: string },
): string[] {
  const from = args.find((argument) => argument.startsWith('--from='))?.slice('--from='.length);
  // The last argument is where it goes.
  const sources = args.filter((argument) => !argument.startsWith('--')).slice(0, -1);
  if (from !== undefined)
    return known.stages.includes(from) ? [] : [`COPY from the stage ${from}, which there is not`];
  return sources.flatMap((source) => {
    if (!known.exists(source)) return [`COPY ${source}, which there is not`];
    return isIgnored(source, known.dockerignore) ? [`COPY ${source}, which .dockerignore keeps out`] : [];
  });
}

/** Our .dockerignore keeps everything out but what it names; the last line that matches decides. */
export function isIgnored(path: string, dockerignore: string): boolean {
  const lines = dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.reduce((ignored, line) => {
    const pattern = line.replace(/^!/, '');
    const matches = pattern === '*' || path === pattern || path.startsWith(`${pattern}/`);
    return matches ? !line.startsWith('!') : ignored;
  }, false);
}

/** The compiled file that the image starts when nothing else is said. */
export function entryPointOf(dockerfile: string): string {
  const [command] = instructionsOf(dockerfile).filter(({ name }) => name === 'CMD');
  return (
    command?.args
      .map((argument) => argument.replaceAll(/[[\]",]/g, ''))
      .find((argument) => argument.startsWith('dist/')) ?? ''
  );
}

/** What one stage copies in from the repository or from another stage, by its name there. */
export function copiedInto(stage: string, dockerfile: string): string[] {
  let current = '';
  return instructionsOf(dockerfile).flatMap(({ name, args }) => {
    if (name === 'FROM') current = args[2] ?? '';
    if (name !== 'COPY' || current !== stage) return [];
    return args.filter((argument) => !argument.startsWith('--')).slice(0, -1);
  });
}

function instructionsOf(dockerfile: string): Instruction[] {
  return dockerfile
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .flatMap(([name, ...args]) =>
      name === undefined || name === '' ? [] : [{ name: name.toUpperCase(), args }],
    );
}
