import { mayFree } from '../../../domain/generations/sweep';

test.each([
  { orphans: 20, looked: 20, free: true },
  { orphans: 21, looked: 21, free: false },
  { orphans: 21, looked: 2_099, free: false },
  { orphans: 21, looked: 2_100, free: true },
  { orphans: 101, looked: 10_000, free: false },
  { orphans: 101, looked: 10_000, allowed: 100, free: false },
  { orphans: 101, looked: 10_000, allowed: 101, free: true },
])(
  'of $looked open holds, $orphans without a workflow may be freed by a machine: $free',
  ({ free, ...found }) => {
    expect(mayFree(found)).toBe(free);
  },
);
