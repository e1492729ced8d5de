/** Who can be asked to do the work. HTTP checks a request's choice; a plain Temporal client's and a catalog's are checked here. */
export const PROVIDERS = ['simulated', 'external'] as const;

/** What each of them may be told. */
const SETTINGS: Record<string, readonly string[]> = {
  simulated: ['delayMs', 'fail', 'deliver'],
  external: ['deadlineSeconds'],
} satisfies Record<(typeof PROVIDERS)[number], readonly string[]>;

/** What is wrong with a catalog's provider, by field; null: nothing. */
export function providerProblem(provider: {
  type: string;
  deadlineSeconds?: unknown;
  delayMs?: unknown;
}): { field: string; message: string } | null {
  const { type, deadlineSeconds, delayMs } = provider;
  const settings = SETTINGS[type];
  if (settings === undefined)
    return { field: 'type', message: `there is no provider ${type}; use one of: ${PROVIDERS.join(', ')}` };
  const strange = Object.keys(provider).find((name) => name !== 'type' && !settings.includes(name));
  if (strange !== undefined)
    return { field: strange, message: `there is no such setting of ${type}; it has ${settings.join(', ')}` };
  if (delayMs !== undefined && !(typeof delayMs === 'number' && Number.isInteger(delayMs) && delayMs >= 0))
    return { field: 'delayMs', message: 'must be whole milliseconds, zero or more' };
  if (type === 'external' && !isSeconds(deadlineSeconds))
    return { field: 'deadlineSeconds', message: 'an external provider needs whole seconds, at least 1' };
  return null;
}

function isSeconds(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1;
}

export const SIMULATED_IN_LIVE =
  'the simulated provider delivers nothing and is for development: in live mode name one that does the work';

export function isSimulated({ type }: { type?: unknown }): boolean {
  return type === 'simulated';
}
