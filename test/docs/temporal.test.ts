import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generationId } from '../../domain/ids';
import * as contract from '../../domain/contract';

/** docs/temporal.md is written against by pipelines in other languages: what it names must be what the code has. */

const page = readFileSync(join(__dirname, '../../docs/temporal.md'), 'utf8');

/** Rows of the table between two markers, each as the texts in its code spans. */
function rowsOf(section: string): string[][] {
  const [, body = ''] = page.split(new RegExp(`<!-- /?${section} -->`));
  return body
    .split('\n')
    .map((line) => [...line.matchAll(/`([^`]*)`/g)].map(([, text = '']) => text))
    .filter((spans) => spans.length > 0);
}

/** Every string in the contract's constants, with the path to it. */
function namesIn(value: unknown, at: string): [string, string][] {
  if (typeof value === 'string') return [[at, value]];
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, item]) => namesIn(item, `${at}.${key}`));
}

const names = Object.entries(contract).flatMap(([name, value]) => namesIn(value, name));

test('the page has three test vectors for the id of a generation', () => {
  expect(rowsOf('vectors')).toHaveLength(3);
});

test.each(rowsOf('vectors'))('the id of account %s and key %s is %s', (account, key, id) => {
  expect(generationId(account, key)).toBe(id);
});

test('the contract has names to look for', () => {
  expect(names.map(([, name]) => name)).toEqual(
    expect.arrayContaining(['holdfast', 'generationWorkflow', 'HoldfastUndecided']),
  );
});

test.each(names)('the page names %s, which is %s', (_, name) => {
  expect(page).toMatch(new RegExp(`\`${name}\``));
});

test('the page names the queues and the schedule beside the main queue as the contract makes them', () => {
  expect(page).toContain(`\`${contract.providerTaskQueue('<main>', '<provider>')}\``);
  expect(page).toContain(`\`${contract.accountTaskQueue('<main>')}\``);
  expect(page).toContain(`\`${contract.sweepScheduleId('<main>')}\``);
});
