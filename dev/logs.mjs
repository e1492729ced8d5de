import { createWriteStream, existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';

/** What the children say goes to files; only what somebody must know now comes to the screen. */

const LARGEST_BYTES = 20 * 1024 * 1024;
const ERROR_LEVEL = 50; // pino's
const SAME_AGAIN_MS = 10_000;

export function openLog({ directory, name, say }) {
  mkdirSync(directory, { recursive: true });
  const file = path.join(directory, `${name}.log`);
  if (existsSync(file) && statSync(file).size > LARGEST_BYTES) renameSync(file, `${file}.old`);
  const stream = createWriteStream(file, { flags: 'a' });
  stream.once('error', (error) => say(`${file} is not written any more: ${error.message}`));
  return stream;
}

/** Reads pino's lines and says the errors among them in words, the same one not again and again. */
export function errorLines({ name, say }) {
  let rest = '';
  let last = { text: '', at: 0 };
  return (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const text = errorIn(line);
      if (text === null || (text === last.text && Date.now() - last.at < SAME_AGAIN_MS)) continue;
      last = { text, at: Date.now() };
      say(`${name}: ${text}`);
    }
  };
}

function errorIn(line) {
  try {
    const { level, msg, err } = JSON.parse(line);
    return level >= ERROR_LEVEL ? [msg, err?.message].filter(Boolean).join(': ') : null;
  } catch {
    return null; // not of pino; it is in the file
  }
}
