import { parseArgs } from 'node:util';
import { readCatalog } from '../../db/catalogs/catalogs';
import { changeLine } from '../../domain/stripe/differences';
import { illustrativePrices } from '../../domain/publish/live';
import { parseMode } from '../../domain/settings';
import { stripeObjects } from '../../domain/stripe/objects';
import { createStripe, isLive, type StripeSettings, stripeSettings } from './client';
import { findDifferences, push } from './push';

/**
 * `npm run stripe:push -- [--apply] <catalog file>…`: shows what would make Stripe sell what the catalogs say; `--apply` does
 * it. Exit status 0: nothing differs any more; 1: something does; 2: it could not be done.
 */

const log = (line: string) => console.log(line);

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { apply: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  if (positionals.length === 0)
    throw new Error('Name the files to push: npm run stripe:push -- catalogs/imagineart.json');
  const settings = stripeSettings(process.env);
  if (parseMode(process.env) === 'live' && !isLive(settings))
    throw new Error(
      'HOLDFAST_MODE is live, and STRIPE_SECRET_KEY is a test key: set a live one, or leave the mode out.',
    );
  // All of them are checked before anything is changed.
  const catalogs = positionals.map((file) => readCatalog(file));
  const wanted = catalogs.map((catalog) => {
    if (isLive(settings)) refuseInvented(catalog.catalog, illustrativePrices(catalog));
    return stripeObjects(catalog);
  });
  let differing = 0;
  for (const objects of wanted) differing += await pushOne(settings, { objects, applying: values.apply });
  return differing === 0 ? 0 : 1;
}

/** How many differences are left. */
async function pushOne(
  settings: StripeSettings,
  options: { objects: ReturnType<typeof stripeObjects>; applying: boolean },
): Promise<number> {
  const { objects, applying } = options;
  const stripe = createStripe(settings);
  log(`${objects.catalog}, Stripe ${isLive(settings) ? 'live' : 'test'} mode`);
  if (applying)
    await push(stripe, { wanted: objects, onApplied: (change) => log(`  ${changeLine(change)}`) });
  const changes = await findDifferences(stripe, objects);
  if (changes.length === 0) log('  Stripe and the catalog agree.');
  else if (applying) log('  Something else has changed it meanwhile. What differs now:');
  for (const change of changes) log(`  ${changeLine(change)}`);
  if (changes.length > 0) log(`  ${changes.length} differences; --apply makes these changes.`);
  return changes.length;
}

function refuseInvented(catalog: string, invented: readonly string[]): void {
  if (invented.length > 0)
    throw new Error(
      `${catalog} has prices that are marked as illustrative (${invented.join(', ')}): they are not for live mode. Set prices of your own and take the mark away.`,
    );
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 2;
  },
);
