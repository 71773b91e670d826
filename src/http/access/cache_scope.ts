import { createHmac } from "node:crypto";
import type { Context } from "hono";
import { acceptedKey } from "./access.ts";

/**
 * Names the scope in which a request may share KV with others, or undefined for the open scope.
 *
 * A cached prefix shows in the time to the first token and in `cached_tokens`: a client that may
 * find a prefix may learn that somebody sent it. So each API key has a scope of its own, and a
 * `cache_salt` narrows it further. The name is an HMAC under the server's secret, since a salt
 * alone could be guessed; key and salt are tagged with their lengths, so that no two pairs give the
 * same input.
 */
export function cacheScope(
  c: Context,
  secret: Uint8Array,
  salt: string | null | undefined,
): string | undefined {
  const key = acceptedKey(c);
  if (key === undefined && (salt === undefined || salt === null)) return undefined;
  return nameUnder(secret, [["key", key], ["salt", salt ?? undefined]]);
}

/**
 * Names the owner of a request, so that API keys share the engine fairly: one name per key,
 * whatever the salt; undefined where the server asks for no key. The name does not reveal the key.
 */
export function requestOwner(c: Context, secret: Uint8Array): string | undefined {
  const key = acceptedKey(c);
  return key === undefined ? undefined : nameUnder(secret, [["owner", key]]);
}

function nameUnder(
  secret: Uint8Array,
  parts: readonly (readonly [tag: string, part: string | undefined])[],
): string {
  const hmac = createHmac("sha256", secret);
  for (const [tag, part] of parts) {
    hmac.update(part === undefined ? `${tag}:none;` : `${tag}:${part.length}:${part};`);
  }
  return hmac.digest("hex");
}
