import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * `node dev/numberFunctions.mjs`: gives the functions in db/migrations/functions the next number, if they are not those that
 * bear the last one. Setup puts functions in only over those with a lower number.
 */

const place = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'db', 'migrations', 'functions');
const file = path.join(place, 'numbers.json');
const numbers = JSON.parse(readFileSync(file, 'utf8'));
const names = readdirSync(place).filter((name) => name.endsWith('.sql'));
const texts = names
  .sort()
  .map((name) => readFileSync(path.join(place, name), 'utf8').replaceAll('\r\n', '\n'));
const digest = createHash('sha256').update(texts.join('\n')).digest('hex');
const last = Math.max(...Object.keys(numbers).map(Number));
if (numbers[last] === digest) {
  console.log(`The functions have number ${last} already.`);
} else {
  numbers[last + 1] = digest;
  writeFileSync(file, `${JSON.stringify(numbers, null, 2)}\n`);
  console.log(`The functions have number ${last + 1} now.`);
}
