import { StartupError } from "../core/errors.ts";
import { modelFile, readModelJson } from "../core/model_json.ts";

/** The checkpoint's only file, when it is not sharded. */
const SINGLE_FILE = "model.safetensors";
/** Says which shard holds which tensor. */
const INDEX_FILE = "model.safetensors.index.json";

const MAX_INDEX_BYTES = 64 * 1024 * 1024;
const MAX_SHARDS = 1024;

/** A plain file name: no separators, no drive, not hidden, so it cannot leave its directory. */
const SHARD_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$/;

/** The files of a checkpoint and which of their tensors belong to it. */
export interface ShardList {
  /** Path of what lists the tensors: the only file, or the index. */
  readonly path: string;
  /** Plain file names, in order of first mention. */
  readonly files: readonly string[];
  /** File name of each tensor; absent for a single file, where all tensors belong. */
  readonly fileOfTensor?: ReadonlyMap<string, string>;
}

/**
 * Finds a directory's checkpoint: one safetensors file, or an index of several.
 *
 * @throws {StartupError} when there is none, or the index is malformed or names a file outside.
 */
export function findShards(dir: string): ShardList {
  const single = modelFile(dir, SINGLE_FILE);
  if (exists(single)) return { path: single, files: [SINGLE_FILE] };
  const index = readModelJson(dir, INDEX_FILE, MAX_INDEX_BYTES);
  if (index === undefined) {
    throw new StartupError(
      `${dir} has neither ${SINGLE_FILE} nor ${INDEX_FILE}: Quire reads safetensors only ` +
        `(pickled .bin and .pt files can run code and are refused)`,
    );
  }
  const path = modelFile(dir, INDEX_FILE);
  const fileOfTensor = parseIndex(index, path);
  return { path, files: [...new Set(fileOfTensor.values())], fileOfTensor };
}

function parseIndex(index: unknown, file: string): Map<string, string> {
  const weightMap = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw new StartupError(`${file}: field "weight_map" must be an object`);
  }
  const fileOfTensor = new Map<string, string>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== "string" || !SHARD_NAME.test(shard)) {
      throw new StartupError(
        `${file}: tensor ${JSON.stringify(name)} is in ${JSON.stringify(shard)}: must be a plain ` +
          `file name that ends in .safetensors`,
      );
    }
    fileOfTensor.set(name, shard);
  }
  const numShards = new Set(fileOfTensor.values()).size;
  if (numShards === 0 || numShards > MAX_SHARDS) {
    throw new StartupError(`${file} names ${numShards} files: must be 1 to ${MAX_SHARDS}`);
  }
  return fileOfTensor;
}

/**
 * Path of a shard with links resolved, which must still lie in the model's directory. The cache
 * of the Hugging Face hub is the one exception: there `models--*\/snapshots/<revision>/<file>` is
 * a link to `models--*\/blobs/<digest>`, which newer Python clients make a link to
 * `blobs/<xx>/<digest>` beside the repositories.
 *
 * @throws {StartupError} when it is missing or leads elsewhere.
 */
export function resolveShard(dir: string, file: string): string {
  const path = modelFile(dir, file);
  let target: string;
  let home: string;
  try {
    target = Deno.realPathSync(path).replaceAll("\\", "/");
    home = Deno.realPathSync(dir).replaceAll("\\", "/");
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "is missing" : (error as Error).message;
    throw new StartupError(`Weights file ${path} ${reason}`);
  }
  if (parentOf(target) === home) return target;
  if (isInHubCache(target, parentOf(home))) return target;
  throw new StartupError(`Weights file ${path} is a link out of its directory`);
}

/** Whether a file is a blob of the repository that has the folder of snapshots, or a shared one. */
function isInHubCache(target: string, snapshots: string): boolean {
  if (!snapshots.endsWith("/snapshots")) return false;
  const repo = parentOf(snapshots);
  if (parentOf(target) === `${repo}/blobs`) return true;
  const shared = `${parentOf(repo)}/blobs/`;
  return target.startsWith(shared) &&
    /^[0-9a-f]{2}\/[0-9a-f]{64}$/.test(target.slice(shared.length));
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new StartupError(`Cannot read ${path}: ${(error as Error).message}`);
  }
}
