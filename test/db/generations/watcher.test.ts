import { createWatcher, TooManyWatchers, type Watching } from '../../../db/generations/watcher';

/** What is read, as a database would have it; `reads` are the questions that were asked. */
function world() {
  const values = new Map<string, string>();
  const reads: string[][] = [];
  const errors: unknown[] = [];
  let broken = false;
  const watcher = createWatcher<string>({
    read: (subjects) => {
      reads.push([...subjects]);
      if (broken) return Promise.reject(new Error('away'));
      return Promise.resolve(
        new Map(
          subjects.flatMap((name) => {
            const value = values.get(name);
            return value === undefined ? [] : [[name, value] as const];
          }),
        ),
      );
    },
    onError: (error) => errors.push(error),
    everyMs: 1,
    limits: { holder: 3, inAll: 5 },
  });
  return {
    values,
    reads,
    errors,
    watcher,
    breakDown: (yes: boolean) => {
      broken = yes;
    },
  };
}

function listener(
  holder = 'key',
): Watching<string> & { told: (string | undefined)[]; until: (n: number) => Promise<void> } {
  const told: (string | undefined)[] = [];
  let heard: () => void = () => undefined;
  return {
    holder,
    told,
    seen(value) {
      told.push(value);
      heard();
    },
    async until(n) {
      while (told.length < n)
        await new Promise<void>((resolve) => {
          heard = resolve;
        });
    },
  };
}

const looks = async (reads: readonly unknown[], more: number) => {
  const wanted = reads.length + more;
  while (reads.length < wanted) await new Promise((resolve) => setTimeout(resolve, 1));
};

test('each is told the value as it is, and then only what changed', async () => {
  const { values, reads, watcher } = world();
  values.set('a', 'running').set('b', 'running');
  const [a, b, none] = [listener(), listener(), listener()];
  const leave = [watcher.watch('a', a), watcher.watch('b', b), watcher.watch('nothing', none)];
  await Promise.all([a.until(1), b.until(1), none.until(1)]);
  await looks(reads, 3);
  values.set('a', 'succeeded');
  await a.until(2);
  await looks(reads, 3);
  expect([a.told, b.told, none.told]).toEqual([['running', 'succeeded'], ['running'], [undefined]]);
  for (const end of leave) end();
});

test('all that is waited for is asked for together, each subject once however many wait for it', async () => {
  const { reads, watcher } = world();
  const all = ['a', 'b', 'a'].map((name) => ({ name, listener: listener() }));
  const leave = all.map((one) => watcher.watch(one.name, one.listener));
  await Promise.all(all.map((one) => one.listener.until(1)));
  expect(reads[0]).toEqual(['a', 'b']);
  for (const end of leave) end();
});

test('nobody is asked for once nobody waits, and who comes later is told at once', async () => {
  const { values, reads, watcher } = world();
  const first = listener();
  watcher.watch('a', first)();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const before = reads.length;
  expect(before).toBeLessThanOrEqual(1);
  values.set('b', 'running');
  const late = listener();
  const leave = watcher.watch('b', late);
  await late.until(1);
  expect([first.told, late.told, reads[before]]).toEqual([[], ['running'], ['b']]);
  leave();
});

test('who comes to something that others watch is told it too, and who has left is told nothing', async () => {
  const { values, reads, watcher } = world();
  values.set('a', 'running');
  const [stays, leaves, late] = [listener(), listener(), listener()];
  const ends = [watcher.watch('a', stays), watcher.watch('a', leaves)];
  await Promise.all([stays.until(1), leaves.until(1)]);
  ends[1]?.();
  ends.push(watcher.watch('a', late));
  await late.until(1);
  values.set('a', 'failed');
  await Promise.all([stays.until(2), late.until(2)]);
  await looks(reads, 2);
  expect([stays.told, leaves.told, late.told]).toEqual([
    ['running', 'failed'],
    ['running'],
    ['running', 'failed'],
  ]);
  for (const end of ends) end();
});

test('a look that fails is told of, and the next one comes', async () => {
  const { values, errors, watcher, breakDown } = world();
  values.set('a', 'running');
  breakDown(true);
  const waiting = listener();
  const leave = watcher.watch('a', waiting);
  while (errors.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  breakDown(false);
  await waiting.until(1);
  expect(waiting.told).toEqual(['running']);
  leave();
});

test('waiting is bounded for each key and in all, and each place is freed exactly once', () => {
  const { watcher } = world();
  const mine = Array.from({ length: 3 }, () => watcher.watch('a', listener('mine')));
  expect(() => watcher.watch('b', listener('mine'))).toThrow(TooManyWatchers);
  const theirs = [watcher.watch('a', listener('theirs')), watcher.watch('b', listener('theirs'))];
  expect(() => watcher.watch('b', listener('nobody'))).toThrow('5 requests wait already');
  mine[0]?.();
  mine[0]?.(); // to leave twice frees one place
  const again = watcher.watch('b', listener('mine'));
  expect(() => watcher.watch('b', listener('mine'))).toThrow(TooManyWatchers);
  for (const end of [...mine, ...theirs, again]) end();
});
