import { setTimeout as delay } from 'node:timers/promises';
import { inTurns, median, perSecond } from '../../bench/kit/measure';
import { findPgbench, tpsOf } from '../../bench/kit/pgbench';
import { table } from '../../bench/kit/report';

describe('median', () => {
  it('is the middle value, whatever the order', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([10, 9])).toBe(9.5);
    expect(median([7])).toBe(7);
  });

  it('does not exist for nothing', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('perSecond', () => {
  it('counts the units of all clients', async () => {
    jest.useFakeTimers();
    const work = async () => new Promise<void>((resolve) => setTimeout(resolve, 20));
    const rate = perSecond({ clients: 4, seconds: 0.3, work });
    await jest.advanceTimersByTimeAsync(400);
    jest.useRealTimers();
    expect(await rate).toBeCloseTo(200);
  });

  it('keeps one call in flight per client', async () => {
    const inFlight = [0, 0];
    const work = async (client: number) => {
      inFlight[client] = (inFlight[client] ?? 0) + 1;
      expect(inFlight[client]).toBe(1);
      await delay(5);
      inFlight[client] = 0;
    };
    await perSecond({ clients: 2, seconds: 0.1, work });
  });

  it('fails with the first error, once every client has stopped', async () => {
    let running = 0;
    const work = async (client: number) => {
      running += 1;
      await delay(10);
      running -= 1;
      if (client === 1) throw new Error('refused');
    };
    await expect(perSecond({ clients: 3, seconds: 5, work })).rejects.toThrow('refused');
    expect(running).toBe(0);
  });
});

describe('inTurns', () => {
  it('changes who goes first with every round, and reports medians', async () => {
    const order: string[] = [];
    const rates = { ours: [10, 30, 20], theirs: [40, 40, 50] };
    const side = (name: 'ours' | 'theirs') => async () => {
      order.push(name);
      return rates[name].shift() ?? 0;
    };
    const result = await inTurns({ clients: 1, ours: side('ours'), theirs: side('theirs') }, 3);
    expect(order).toEqual(['ours', 'theirs', 'theirs', 'ours', 'ours', 'theirs']);
    expect(result).toEqual({ clients: 1, ours: 20, theirs: 40, ratio: 0.4 });
  });
});

describe('findPgbench', () => {
  it('takes the first that runs, and none where there is none', async () => {
    expect(await findPgbench(['no-such-pgbench', process.execPath])).toBe(process.execPath);
    expect(await findPgbench(['no-such-pgbench'])).toBeNull();
  });
});

describe('what is printed', () => {
  it('lines up, with rates a person can read', () => {
    const results = [
      { clients: 1, ours: 6.66, theirs: 7.4, ratio: 0.9 },
      { clients: 16, ours: 1234.5, theirs: 99.96, ratio: 12.351 },
    ];
    expect(table({ ours: 'pairs', theirs: 'pgbench' }, results).split('\n')).toEqual([
      '  clients   pairs/s   pgbench/s   ratio',
      '        1       6.7         7.4    0.90',
      '       16     1,235       100.0   12.35',
    ]);
  });

  it('reads the rate that pgbench reports, and says so when there is none', () => {
    expect(
      tpsOf('latency average = 2.3 ms\ntps = 6775.573512 (without initial connection time)\n'),
    ).toBeCloseTo(6775.57);
    expect(() => tpsOf('connection to server failed')).toThrow(/no rate/);
  });
});
