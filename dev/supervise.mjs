import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { endPid, endWithUs, identify, isSame } from './processes.mjs';

/**
 * Keeps child processes running, and ends them in the reverse order. `recordFile` says which ones there are, so that
 * after a kill -9 of the supervisor the next one can end what is left.
 *
 * Children have process groups of their own: a Ctrl-C reaches every process of the terminal's group at once, and the
 * database would stop before those that still have something to write.
 */

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** Having lived so long, a child that dies has not died of its start. */
const SETTLED_MS = 60_000;
const STOP_WITHIN_MS = 20_000;

export function createSupervisor({ recordFile, say }) {
  const children = [];
  let stopping = false;

  function writeDown() {
    const known = children.filter(({ process: running }) => running !== null);
    writeFileSync(
      recordFile,
      JSON.stringify(known.map(({ name, signal, identity }) => ({ name, signal, ...identity }))),
    );
  }

  /** From the moment it is spawned, long before it is ready, a child is ours to end. */
  function adopt(child, running) {
    const begun = Date.now();
    endWithUs(running, child.signal);
    child.process = running;
    child.identity = identify(running.pid);
    child.gone = new Promise((resolve) => {
      running.once('exit', (code, signal) => {
        child.process = null;
        writeDown();
        resolve({ why: signal ?? `code ${code}`, livedMs: Date.now() - begun });
      });
    });
    writeDown();
  }

  async function end(child, withinMs = STOP_WITHIN_MS) {
    if (child.process === null) return;
    child.process.kill(child.signal);
    const timer = setTimeout(() => child.process?.kill('SIGKILL'), withinMs);
    await child.gone;
    clearTimeout(timer);
  }

  async function keepRunning(child) {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      const { why, livedMs } = await child.gone;
      if (stopping) return;
      if (livedMs > SETTLED_MS) pauseMs = FIRST_PAUSE_MS;
      say(`${child.name} ended (${why}); starting it again in ${pauseMs / 1000} s`);
      await delay(pauseMs);
      if (stopping) return;
      try {
        await child.start((running) => adopt(child, running));
        say(`${child.name} runs again`);
      } catch (error) {
        if (stopping) return;
        say(`${child.name} did not start: ${error.message}`);
        await end(child);
      }
    }
  }

  return {
    get stopping() {
      return stopping;
    },
    /** `start` spawns the process, hands it to its argument at once, and returns when it is ready. */
    async run({ name, signal = 'SIGTERM', start }) {
      const child = { name, signal, start, process: null, identity: null, gone: null };
      children.push(child);
      await start((running) => adopt(child, running));
      keepRunning(child).catch((error) => say(`${name} is no longer watched: ${error.stack}`));
    },
    async stop() {
      stopping = true;
      for (const child of children.toReversed()) await end(child);
      rmSync(recordFile, { force: true });
    },
    kill() {
      for (const { process: running } of children) running?.kill('SIGKILL');
    },
  };
}

/** Ends what an earlier supervisor left running, the last started first. */
export async function endLeftovers({ recordFile, say }) {
  let known;
  try {
    known = JSON.parse(readFileSync(recordFile, 'utf8'));
  } catch {
    return; // no earlier run, or one that stopped as it should
  }
  for (const { name, signal, ...identity } of known.toReversed()) {
    if (!isSame(identity)) continue;
    say(`ending the ${name} that an earlier run left behind (pid ${identity.pid})`);
    await endPid({ pid: identity.pid, signal });
  }
}
