import { StartupError } from "../core/errors.ts";
import type { KeyRules } from "../http/access/key_rules.ts";

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
  /** Names and limits, by the key. */
  readonly keyRules?: ReadonlyMap<string, KeyRules>;
}

/** What may stand behind a key, each as `NAME=VALUE`. */
const SETTINGS: Readonly<Record<string, RegExp>> = {
  name: /^[\w.-]{1,64}$/,
  "max-requests": /^[1-9]\d{0,8}$/,
  "tokens-per-minute": /^[1-9]\d{0,11}$/,
  priority: /^-?\d{1,6}$/,
};

/** A key with its settings, as they were given. */
type Entry = readonly [key: string, rules: KeyRules];

/**
 * Reads all keys, those in files included. A key may be followed by settings, as in
 * `KEY name=alice max-requests=4 tokens-per-minute=20000 priority=1`; in a file, a line that begins
 * with `#` and a space is a comment.
 *
 * @throws {StartupError} on a file that cannot be read or holds no key, on a key with characters
 * that a header cannot carry, on settings that there are not, on a name of two keys, and on a key
 * that is given twice with different settings, or is both an API key and an admin key.
 */
export function readKeys(settings: KeySettings): Keys {
  const api = entriesOf("--api-key", "key", settings.apiKey, settings.apiKeyFile);
  const admin = entriesOf("--admin-key", "admin", settings.adminKey, settings.adminKeyFile);
  if ([...admin.keys()].some((key) => api.has(key))) {
    throw new StartupError(
      "--admin-key holds a key that is an --api-key too: its clients would all be admins",
    );
  }
  const keyRules = new Map([...api, ...admin]);
  const names = [...keyRules.values()].map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new StartupError(`Two keys have the name ${twice}: give others`);
  return { apiKeys: [...api.keys()], adminKeys: [...admin.keys()], keyRules };
}

function entriesOf(
  flag: string,
  kind: string,
  given: readonly string[],
  file: string | undefined,
): Map<string, KeyRules> {
  const lines = [...given, ...file === undefined ? [] : readKeyFile(`${flag}-file`, file)];
  const entries = new Map<string, KeyRules>();
  for (const [i, line] of lines.entries()) {
    const [key, rules] = parseEntry(line, `${kind}-${entries.size + 1}`) ?? refuse(flag, i);
    const known = entries.get(key);
    if (known === undefined) entries.set(key, rules);
    else if (/\s/.test(line) && JSON.stringify(known) !== JSON.stringify(rules)) {
      throw new StartupError(`${flag} holds a key twice with different settings: key ${i + 1}`);
    }
  }
  return entries;
}

function refuse(flag: string, index: number): never {
  throw new StartupError(
    `${flag} must hold printable ASCII characters without spaces, and behind a space at most ` +
      "name=NAME, max-requests=N, tokens-per-minute=N and priority=N: " +
      `key ${index + 1} does not`,
  );
}

/** Undefined for what is no key with settings. */
function parseEntry(line: string, numberedName: string): Entry | undefined {
  const [key = "", ...settings] = line.split(/\s+/);
  if (!/^[!-~]+$/.test(key)) return undefined;
  const values = new Map<string, string>();
  for (const setting of settings) {
    const [, name = "", value = ""] = /^([a-z-]+)=(.*)$/.exec(setting) ?? [];
    const isKnown = Object.hasOwn(SETTINGS, name) && SETTINGS[name]!.test(value);
    if (!isKnown || values.has(name)) return undefined;
    values.set(name, value);
  }
  const number = (name: string, field: string) =>
    values.has(name) ? { [field]: Number(values.get(name)) } : {};
  return [key, {
    name: values.get("name") ?? numberedName,
    ...number("max-requests", "maxRequests"),
    ...number("tokens-per-minute", "tokensPerMinute"),
    ...number("priority", "priority"),
  }];
}

function readKeyFile(flag: string, path: string): string[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError(`${flag} ${JSON.stringify(path)} cannot be read: ${reason}`);
  }
  const lines = text.split("\n").map((line) => line.trim())
    .filter((line) => line !== "" && !/^#(\s|$)/.test(line));
  if (lines.length === 0) {
    throw new StartupError(`${flag} ${JSON.stringify(path)} holds no key: one per line is needed`);
  }
  return lines;
}
