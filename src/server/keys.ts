import { StartupError } from "../core/errors.ts";

/** The settings about keys. */
export interface KeySettings {
  readonly apiKey: readonly string[];
  readonly apiKeyFile?: string | undefined;
  readonly adminKey: readonly string[];
  readonly adminKeyFile?: string | undefined;
}

/** The keys of a server, each list without repetitions. */
export interface Keys {
  readonly apiKeys: readonly string[];
  readonly adminKeys: readonly string[];
}

/**
 * Reads all keys, those in files included.
 *
 * @throws {StartupError} on a file that cannot be read or holds no key, on a key with characters
 * that a header cannot carry, and on a key that is both an API key and an admin key.
 */
export function readKeys(settings: KeySettings): Keys {
  const apiKeys = keysOf("--api-key", settings.apiKey, settings.apiKeyFile);
  const adminKeys = keysOf("--admin-key", settings.adminKey, settings.adminKeyFile);
  if (adminKeys.some((key) => apiKeys.includes(key))) {
    throw new StartupError(
      "--admin-key holds a key that is an --api-key too: its clients would all be admins",
    );
  }
  return { apiKeys, adminKeys };
}

function keysOf(flag: string, given: readonly string[], file: string | undefined): string[] {
  const keys = [...given, ...file === undefined ? [] : readKeyFile(`${flag}-file`, file)];
  const bad = keys.findIndex((key) => !/^[!-~]+$/.test(key));
  if (bad >= 0) {
    throw new StartupError(
      `${flag} must hold printable ASCII characters without spaces: key ${bad + 1} does not`,
    );
  }
  return [...new Set(keys)];
}

function readKeyFile(flag: string, path: string): string[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError(`${flag} ${JSON.stringify(path)} cannot be read: ${reason}`);
  }
  const keys = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (keys.length === 0) {
    throw new StartupError(`${flag} ${JSON.stringify(path)} holds no key: one per line is needed`);
  }
  return keys;
}
