import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/**
 * Kept answers may hold a secret that is shown once (a new API key), yet a retry must get the same bytes.
 * So they are encrypted with the key of the caller, who must show it to ask again, and which we do not store.
 */

const SALT_BYTES = 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** AES-256-GCM; the result is salt, nonce, tag and ciphertext in one. */
export function seal(text: string, bearer: string): Buffer {
  const salt = randomBytes(SALT_BYTES);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', derive(bearer, salt), iv);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([salt, iv, cipher.getAuthTag(), sealed]);
}

/** Null when another key sealed it: HOLDFAST_ADMIN_KEY was changed since. */
export function unseal(sealed: Buffer, bearer: string): string | null {
  const salt = sealed.subarray(0, SALT_BYTES);
  const iv = sealed.subarray(SALT_BYTES, SALT_BYTES + IV_BYTES);
  const tag = sealed.subarray(SALT_BYTES + IV_BYTES, SALT_BYTES + IV_BYTES + TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', derive(bearer, salt), iv, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(tag);
  const opened = decipher.update(sealed.subarray(SALT_BYTES + IV_BYTES + TAG_BYTES));
  try {
    return Buffer.concat([opened, decipher.final()]).toString('utf8');
  } catch {
    // final() throws only when the tag does not fit, which is the answer to the question.
    return null;
  }
}

function derive(bearer: string, salt: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', bearer, salt, 'holdfast kept answer', 32));
}
