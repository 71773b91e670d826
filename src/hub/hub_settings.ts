import { omitUndefined } from "../base/omit_undefined.ts";
import type { Environment } from "../core/environment.ts";
import { StartupError } from "../core/errors.ts";

/** Where models come from and where they are kept, as the Python client's variables say. */
export interface HubSettings {
  /** The cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`. */
  readonly cacheDir: string;
  /** `HF_ENDPOINT` without a slash at its end. */
  readonly endpoint: string;
  /** Sent to the endpoint alone. */
  readonly token?: string;
  /** Nothing is asked of the hub. */
  readonly isOffline: boolean;
  /** How long an answer's head may take, ms. */
  readonly etagTimeoutMs: number;
  /** How long a download may send nothing, ms. */
  readonly downloadTimeoutMs: number;
  /** Bars are wanted where there is a terminal. */
  readonly hasBars: boolean;
  /** Files of snapshots are links to blobs where the platform allows it. */
  readonly usesSymlinks: boolean;
}

/** Variables that {@link hubSettings} reads, for permissions. */
export const HUB_VARIABLES =
  "HF_*,HOME,USERPROFILE,XDG_CACHE_HOME,TRANSFORMERS_OFFLINE,HUGGING_FACE_HUB_TOKEN," +
  "HUGGINGFACE_HUB_CACHE,NO_COLOR";

const DEFAULT_ENDPOINT = "https://huggingface.co";
const DEFAULT_TIMEOUT_SECONDS = 10;
/** A token file that is larger is something else. */
const MAX_TOKEN_BYTES = 4096;

/**
 * Reads the settings from the environment. A token file that is missing, or may not be read, counts
 * as none.
 *
 * @throws {StartupError} where no variable says where the cache lies, and on a malformed value.
 */
export function hubSettings(env: Environment): HubSettings {
  const home = hubHome(env);
  const cacheDir = firstOf(env.HF_HUB_CACHE, env.HUGGINGFACE_HUB_CACHE);
  const token = tokenOf(env, home);
  return {
    cacheDir: cacheDir === undefined ? `${home}/hub` : expand(cacheDir, env),
    endpoint: endpointOf(env),
    ...omitUndefined({ token }),
    isOffline: isTrue(firstOf(env.HF_HUB_OFFLINE, env.TRANSFORMERS_OFFLINE)),
    etagTimeoutMs: timeoutMs(env, "HF_HUB_ETAG_TIMEOUT"),
    downloadTimeoutMs: timeoutMs(env, "HF_HUB_DOWNLOAD_TIMEOUT"),
    hasBars: !isTrue(env.HF_HUB_DISABLE_PROGRESS_BARS) && firstOf(env.NO_COLOR) === undefined,
    usesSymlinks: !isTrue(env.HF_HUB_DISABLE_SYMLINKS),
  };
}

/** Where the Python client keeps its cache and its token. */
function hubHome(env: Environment): string {
  const given = firstOf(env.HF_HOME);
  if (given !== undefined) return expand(given, env);
  const cache = firstOf(env.XDG_CACHE_HOME);
  if (cache !== undefined) return `${expand(cache, env)}/huggingface`;
  const home = firstOf(env.HOME, env.USERPROFILE);
  if (home !== undefined) return `${trimSlashes(home)}/.cache/huggingface`;
  throw new StartupError(
    "Where downloaded models are kept is not known: set HF_HOME or HOME, and let Quire read them " +
      `with --allow-env=${HUB_VARIABLES}`,
  );
}

function tokenOf(env: Environment, home: string): string | undefined {
  const given = cleanToken(firstOf(env.HF_TOKEN, env.HUGGING_FACE_HUB_TOKEN));
  if (given !== undefined) return given;
  if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const path = env.HF_TOKEN_PATH ? expand(env.HF_TOKEN_PATH, env) : `${home}/token`;
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return undefined;
  try {
    const { isFile, size } = Deno.statSync(path);
    return isFile && size <= MAX_TOKEN_BYTES ? cleanToken(Deno.readTextFileSync(path)) : undefined;
  } catch {
    return undefined;
  }
}

/** A token as a header can carry it; line ends come from files. */
function cleanToken(text: string | undefined): string | undefined {
  const token = text?.replace(/[\r\n]/g, "").trim();
  if (token === undefined || token === "") return undefined;
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new StartupError(
      "HF_TOKEN must be printable ASCII without spaces (its value is not shown)",
    );
  }
  return token;
}

function endpointOf(env: Environment): string {
  const text = trimSlashes(firstOf(env.HF_ENDPOINT) ?? DEFAULT_ENDPOINT);
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "") {
    return text;
  }
  throw new StartupError(
    `HF_ENDPOINT must be an address such as ${DEFAULT_ENDPOINT}, got ${JSON.stringify(text)}`,
  );
}

function timeoutMs(env: Environment, variable: string): number {
  const text = firstOf(env[variable]);
  if (text === undefined) return DEFAULT_TIMEOUT_SECONDS * 1000;
  if (/^\d{1,5}$/.test(text.trim())) return (Number(text) || DEFAULT_TIMEOUT_SECONDS) * 1000;
  throw new StartupError(
    `${variable} must be a whole number of seconds up to 99999, got ${JSON.stringify(text)}`,
  );
}

/** What the Python client takes for true. */
function isTrue(text: string | undefined): boolean {
  return ["1", "ON", "YES", "TRUE"].includes((text ?? "").toUpperCase());
}

/** The first that is set to something. */
function firstOf(...texts: (string | undefined)[]): string | undefined {
  return texts.find((text) => text !== undefined && text !== "");
}

/** A path with `~` and `$NAME` replaced, as a shell would; unknown variables stay. */
function expand(path: string, env: Environment): string {
  const home = firstOf(env.HOME, env.USERPROFILE);
  const atHome = home === undefined ? path : path.replace(/^~(?=$|[\\/])/, () => home);
  return trimSlashes(
    atHome.replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, bare, braced) => env[bare ?? braced] ?? whole),
  );
}

function trimSlashes(text: string): string {
  return text.replace(/(?<=.)[\\/]+$/, "");
}
