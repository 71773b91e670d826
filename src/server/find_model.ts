import { formatByteSize } from "../base/byte_size.ts";
import { invariant } from "../base/invariant.ts";
import { processEnvironment } from "../core/environment.ts";
import { StartupError } from "../core/errors.ts";
import { type CachedModel, findCached } from "../hub/cached_model.ts";
import { HubClient } from "../hub/hub_client.ts";
import { HubError } from "../hub/hub_errors.ts";
import { type HubSettings, hubSettings } from "../hub/hub_settings.ts";
import {
  looksLikeModelName,
  type ModelReference,
  parseModelReference,
} from "../hub/model_reference.ts";
import { quantizedFiles } from "../hub/other_files.ts";
import { mayReadCache, requireCacheReadable } from "../hub/permissions.ts";
import { pullFile } from "../hub/pull_model.ts";
import { cachedRepos } from "../hub/repo_cache.ts";
import { CONFIG_FILE } from "../hub/select_files.ts";
import { isGgufPath } from "../weights/gguf/gguf_file.ts";
import {
  bundledModel,
  isExistingPath,
  type ModelDirectory,
  modelInDirectory,
} from "./model_directory.ts";
import { pullShown } from "./pull_display.ts";
import { whyTextNotRunnable } from "./why_not_runnable.ts";

/** How a download is agreed to. */
export interface Consent {
  /** `--yes`: nobody is asked. */
  readonly yes: boolean;
  /** Asks at the terminal; absent where there is none. */
  readonly ask?: (question: string) => Promise<boolean>;
}

/**
 * Finds the model to serve: the bundled one, a directory or GGUF file, a whole model in the cache,
 * or one on the hub, which is downloaded where that is agreed to.
 *
 * @throws {StartupError} for a name that is none of these, or is not to be downloaded.
 */
export async function findModel(
  model: string | undefined,
  consent: Consent,
): Promise<ModelDirectory> {
  const local = localModel(model);
  if (local !== undefined) return local;
  const { reference, settings, found } = lookUp(model!);
  if (isWhole(found)) return toDirectory(settings, reference, found);
  return await download(model!, { reference, settings }, consent);
}

/**
 * Finds a model without a download: the bundled one, a directory or GGUF file, or a whole one in
 * the cache.
 *
 * @throws {StartupError} for any other, with the command that fetches it.
 */
export function findLocalModel(model: string | undefined): ModelDirectory {
  const local = localModel(model);
  if (local !== undefined) return local;
  const { reference, settings, found } = lookUp(model!);
  if (isWhole(found)) return toDirectory(settings, reference, found);
  throw notThere(model!, settings, found);
}

/**
 * The folder with the config.json of a model by name, which is fetched alone where the cache lacks
 * it, or its GGUF file in the cache; undefined for what is no name of a model.
 *
 * @throws {StartupError} for a model without a config.json, and for a GGUF file that is not in the
 * cache.
 */
export async function findConfig(model: string): Promise<ModelDirectory | undefined> {
  if (!isNameOnHub(model)) return undefined;
  const reference = parseModelReference(model);
  // Its config is in its header.
  if (namesFile(reference)) return findLocalModel(model);
  const settings = hubSettings(processEnvironment());
  requireCacheReadable(settings.cacheDir);
  const dir = await pullFile(new HubClient(settings), reference, CONFIG_FILE);
  if (dir !== undefined) return { dir, name: reference.repo };
  throw new HubError(
    "no-file",
    `${reference.repo} has no ${CONFIG_FILE}, which a plan is made from`,
  );
}

/** Asks a question at the terminal; only "n" is a no, and so is the end of the input. */
export async function askAtTerminal(question: string): Promise<boolean> {
  const encoder = new TextEncoder();
  await Deno.stderr.write(encoder.encode(`${question} [Y/n] `));
  const buffer = new Uint8Array(256);
  const count = await Deno.stdin.read(buffer);
  return count !== null && !/^\s*n/i.test(new TextDecoder().decode(buffer.subarray(0, count)));
}

/** {@link Consent} of this process. */
export function consentOf({ yes }: { readonly yes: boolean }): Consent {
  const isAtTerminal = Deno.stdin.isTerminal() && Deno.stderr.isTerminal();
  return { yes, ...(isAtTerminal ? { ask: askAtTerminal } : {}) };
}

/** A model that needs no look into the cache; undefined for a name. */
function localModel(model: string | undefined): ModelDirectory | undefined {
  if (model === undefined) return bundledModel();
  return isNameOnHub(model) ? undefined : modelInDirectory(model);
}

/**
 * Whether a text has the form of a name and is no path of this machine. A name without an
 * organization, as the oldest models have, counts where the cache has it.
 */
function isNameOnHub(model: string): boolean {
  if (isExistingPath(model)) return false;
  return looksLikeModelName(model) || !/[\\/]/.test(model) && isCached(model);
}

function isCached(model: string): boolean {
  try {
    const { repo } = parseModelReference(model);
    const { cacheDir } = hubSettings(processEnvironment());
    return mayReadCache(cacheDir) && cachedRepos(cacheDir).includes(repo);
  } catch {
    return false;
  }
}

/** A name, and what the cache has of it. */
interface LookUp {
  readonly reference: ModelReference;
  readonly settings: HubSettings;
  readonly found: CachedModel | undefined;
}

function lookUp(model: string): LookUp {
  const reference = parseModelReference(model);
  refuseShard(model, reference);
  const settings = hubSettings(processEnvironment());
  requireCacheReadable(settings.cacheDir);
  return { reference, settings, found: findCached(settings.cacheDir, reference) };
}

function isWhole(found: CachedModel | undefined): found is CachedModel {
  return found !== undefined && found.missing.length === 0;
}

function toDirectory(
  { cacheDir }: HubSettings,
  reference: ModelReference,
  { dir, commit, ggufFile }: CachedModel,
): ModelDirectory {
  const otherFiles = quantizedFiles(cacheDir, reference, commit);
  return {
    dir: ggufFile === undefined ? dir : `${dir}/${ggufFile}`,
    name: reference.repo,
    ...(otherFiles.length === 0 ? {} : { otherFiles }),
  };
}

function namesFile({ file, quant }: ModelReference): boolean {
  return file !== undefined || quant !== undefined;
}

/** Before anything is fetched: a safetensors file is no model without the others. */
function refuseShard(model: string, { file }: ModelReference): void {
  if (file === undefined || isGgufPath(file)) return;
  throw new StartupError(
    `--model ${model} names a safetensors file, which quire pull alone takes: name the repository, ` +
      "or a GGUF file",
  );
}

function notThere(
  model: string,
  { cacheDir }: HubSettings,
  found: CachedModel | undefined,
): StartupError {
  const state = found === undefined ? "not" : `not whole (${found.missing.join(", ")})`;
  return new StartupError(
    `${JSON.stringify(model)} is no directory, and ${state} in the cache ${cacheDir}: fetch it ` +
      `with quire pull ${model}`,
  );
}

async function download(
  model: string,
  { reference, settings }: Pick<LookUp, "reference" | "settings">,
  { yes, ask }: Consent,
): Promise<ModelDirectory> {
  if (!yes && ask === undefined && !settings.isOffline) {
    const found = findCached(settings.cacheDir, reference);
    const { message } = notThere(model, settings, found);
    throw new StartupError(`${message}, or serve it with --yes`);
  }
  await pullShown(settings, reference, {
    async beforeWeights({ config, numBytes }) {
      const why = whyTextNotRunnable(config);
      if (why !== undefined) throw new StartupError(`${reference.repo} cannot run here: ${why}`);
      if (yes || numBytes === 0) return;
      const { host } = new URL(settings.endpoint);
      if (await ask!(`Download ${formatByteSize(numBytes)} of ${model} from ${host}?`)) return;
      throw new StartupError(`${model} is not downloaded: quire pull ${model} does that later`);
    },
  });
  const found = findCached(settings.cacheDir, reference);
  invariant(isWhole(found), `${model} is not whole after its download`);
  return toDirectory(settings, reference, found);
}
