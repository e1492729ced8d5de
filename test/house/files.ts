import { readdirSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.join(__dirname, '..', '..');
/** Not ours, or made by a build or a run; .gitignore has the same. */
const NOT_SOURCE = new Set(['.git', 'node_modules', 'dist', '.holdfast']);

/** Every file of the project below a folder, '' for all, relative to the root. */
export function filesBelow(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = path.posix.join(folder, entry.name);
    if (NOT_SOURCE.has(entry.name)) return [];
    return entry.isDirectory() ? filesBelow(file) : entry.isFile() ? [file] : [];
  });
}
