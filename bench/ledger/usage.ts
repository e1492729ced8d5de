import { openDatabase } from '../../db/connection/connection';
import { readUsage, type UsageQuestion } from '../../db/books/usage';
import { UsageUnderWay } from '../../db/books/usageSums';
import { daysOf, type Dimension } from '../../domain/books/usage';
import { median } from '../kit/measure';
import { columns } from '../kit/report';
import { accountOfSize, DAYS, FIRST_DAY, fillUsage, SIZES } from './usageData';

/** What a question about usage takes, of accounts of several sizes beside each other: milliseconds. */

const REPEATS = 5;

const QUESTIONS: Record<string, { groupBy: Dimension[]; fromHours?: number; toHours?: number }> = {
  'month by model': { groupBy: ['model'] },
  'by model and day': { groupBy: ['model', 'day'] },
  'by project and member': { groupBy: ['project', 'member'] },
  'ten days from 11:40': { groupBy: ['model'], fromHours: 5 * 24 + 11.67, toHours: 15 * 24 + 11.67 },
  'one day by action': { groupBy: ['action'], fromHours: 24, toHours: 48 },
};

export async function usageBench({
  databaseUrl,
  generations,
}: {
  databaseUrl: string;
  generations: number;
}): Promise<void> {
  console.log(
    `\nFilling a database with ${generations.toLocaleString('en')} generations in ${DAYS} days ...`,
  );
  console.log(`  ${await fillUsage({ databaseUrl, generations })}`);
  console.log('\nms for a question about usage; asked first, when nothing is added up yet, and again');
  const database = openDatabase({ url: databaseUrl, max: 2 });
  const rows: string[][] = [];
  for (const size of SIZES) {
    const shown = (ms: number) => Math.round(ms).toLocaleString('en');
    const first = await timeOf(() => untilAnswered(database.knex, question(size, { groupBy: ['model'] })));
    const again: string[] = [];
    for (const asked of Object.values(QUESTIONS)) {
      const work = () => untilAnswered(database.knex, question(size, asked));
      await work();
      const times: number[] = [];
      for (let repeat = 0; repeat < REPEATS; repeat += 1) times.push(await timeOf(work));
      again.push(shown(median(times)));
    }
    rows.push([size.toLocaleString('en'), shown(first), ...again]);
  }
  await database.close();
  console.log(columns([['generations', 'asked first', ...Object.keys(QUESTIONS)], ...rows]));
}

function question(
  size: number,
  { groupBy, fromHours = 0, toHours = DAYS * 24 }: (typeof QUESTIONS)[string],
): UsageQuestion {
  const at = (hours: number) => new Date(Date.parse(FIRST_DAY) + hours * 3_600_000);
  const [from, to] = [at(fromHours), at(toHours)];
  const days = daysOf({ fromMs: from.getTime(), toMs: to.getTime() }, 'UTC');
  return { account: accountOfSize(size), from, to, zone: 'UTC', groupBy, only: [], days, limit: 10_000 };
}

/** As a caller who asks again when told to. */
async function untilAnswered(knex: Parameters<typeof readUsage>[0], asked: UsageQuestion): Promise<void> {
  for (;;) {
    try {
      await readUsage(knex, asked);
      return;
    } catch (error) {
      if (!(error instanceof UsageUnderWay)) throw error;
    }
  }
}

async function timeOf(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}
