import { HubError } from "./hub_errors.ts";
import type { RepoFile } from "./hub_client.ts";
import { formatModelReference, type ModelReference } from "./model_reference.ts";
import { RepoCache } from "./repo_cache.ts";
import { quantsOf, selectFiles } from "./select_files.ts";
import { cachedTree } from "./tree_cache.ts";

/** A quantization in a repository. */
export interface QuantizedFile {
  /** Such as `org/name:Q4_K_M`. */
  readonly name: string;
  /** Of all parts. */
  readonly bytes: number;
}

/**
 * The GGUF files of a model's repository by the names that serve them, those in use included, as
 * the cache lists them: nothing is asked of the hub. Empty where it has no list.
 */
export function quantizedFiles(
  cacheDir: string,
  reference: ModelReference,
  commit: string,
): QuantizedFile[] {
  const files = cachedTree(new RepoCache(cacheDir, reference.repo), commit) ?? [];
  const sizes = new Map(files.map(({ path, size }: RepoFile) => [path, size]));
  const paths = [...sizes.keys()];
  const { file: _, ...repo } = reference;
  return quantsOf(paths).flatMap((quant) => {
    const named = { ...repo, quant };
    const weights = weightsOf(paths, named);
    if (weights === undefined) return [];
    const bytes = weights.reduce((sum, path) => sum + sizes.get(path)!, 0);
    return [{ name: formatModelReference(named), bytes }];
  });
}

/** Undefined for a name that several files bear, or none. */
function weightsOf(
  paths: readonly string[],
  reference: ModelReference,
): readonly string[] | undefined {
  try {
    return selectFiles(paths, reference).weights;
  } catch (error) {
    if (error instanceof HubError) return undefined;
    throw error;
  }
}
