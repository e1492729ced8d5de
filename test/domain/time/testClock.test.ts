import { firstStop, furthestAdvance, nextStop } from '../../../domain/time/testClock';

const at = (text: string) => Date.parse(text);
const target = at('2027-06-01T00:00:00Z');

test('an account stops at its next boundary, or at the target if that comes first', () => {
  const stop = (dueMs: number) => nextStop({ nowMs: at('2027-05-01T00:00:00Z'), dueMs, targetMs: target });
  expect(stop(at('2027-05-20T00:00:00Z'))).toBe('2027-05-20T00:00:00.000Z');
  expect(stop(target)).toBe('2027-06-01T00:00:00.000Z');
  expect(stop(target + 1)).toBe('2027-06-01T00:00:00.000Z');
  expect(stop(Number.POSITIVE_INFINITY)).toBe('2027-06-01T00:00:00.000Z');
});

test('what is still due where it was just settled does not keep it there', () => {
  const nowMs = at('2027-05-01T00:00:00Z');
  for (const dueMs of [nowMs, nowMs - 1, Number.NEGATIVE_INFINITY])
    expect(nextStop({ nowMs, dueMs, targetMs: target })).toBe('2027-06-01T00:00:00.000Z');
});

test('it begins where it stands if anything may be due there', () => {
  const hand = { account: 'ada', clockAt: '2027-05-01T00:00:00.000Z', dueAt: 'infinity', unsettled: false };
  expect(firstStop(hand, target)).toBe('2027-06-01T00:00:00.000Z');
  expect(firstStop({ ...hand, dueAt: '2027-05-09T00:00:00Z' }, target)).toBe('2027-05-09T00:00:00.000Z');
  expect(firstStop({ ...hand, dueAt: hand.clockAt }, target)).toBe(hand.clockAt);
  expect(firstStop({ ...hand, dueAt: '2027-04-30T00:00:00Z' }, target)).toBe(hand.clockAt);
  expect(firstStop({ ...hand, unsettled: true }, target)).toBe(hand.clockAt);
});

test('five years are five calendar years', () => {
  const from = at('2028-02-29T12:00:00Z');
  expect(new Date(furthestAdvance(from)).toISOString()).toBe('2033-02-28T12:00:00.000Z');
});
