import type { ClientBase } from 'pg';

/** Who keeps a session from the lock it waits for, in words an operator can act on. */

const LOOK_EVERY_MS = 200;

interface Holder {
  pid: number;
  application: string;
  since: string | null;
  query: string;
}

/** Does `work`, in the session `pid`, and hands over who stood in its way as it was last seen; '' if nobody did. */
export async function watchingHolders<T>(
  { watcher, pid }: { watcher: ClientBase; pid: number },
  work: () => Promise<T>,
  onHolders: (holders: string) => void,
): Promise<T> {
  const over = new AbortController();
  const watch = async () => {
    while (!over.signal.aborted) {
      const holders = await holdersOf(watcher, pid);
      if (holders !== '') onHolders(holders);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  };
  const watching = watch();
  try {
    return await work();
  } finally {
    over.abort();
    await watching;
  }
}

async function holdersOf(watcher: ClientBase, pid: number): Promise<string> {
  const { rows } = await watcher.query<Holder>(
    `SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), 'without a name') AS application,
            to_char(coalesce(a.query_start, a.xact_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
            left(regexp_replace(a.query, '\\s+', ' ', 'g'), 200) AS query
       FROM unnest(pg_blocking_pids($1)) b (pid) JOIN pg_stat_activity a USING (pid) ORDER BY a.pid`,
    [pid],
  );
  return rows.map(said).join('; ');
}

function said({ pid, application, since, query }: Holder): string {
  const begun = since === null ? '' : `, query started ${since}`;
  return `pid ${pid} (application ${application}${begun}: ${query})`;
}
