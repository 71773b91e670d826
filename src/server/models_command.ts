import { formatByteSize } from "../base/byte_size.ts";
import { processEnvironment } from "../core/environment.ts";
import type { ModelsConfig } from "../core/hub_config.ts";
import { findCached } from "../hub/cached_model.ts";
import { hubSettings } from "../hub/hub_settings.ts";
import { type ListedModel, listModels } from "../hub/list_models.ts";
import { requireCacheReadable } from "../hub/permissions.ts";
import { whyGgufNotRunnable, whyNotRunnable } from "./why_not_runnable.ts";

const MAX_TYPE_CHARS = 32;

/** What `quire models` prints. @throws {HubError} where the cache may not be read. */
export function modelsCommand({ json }: ModelsConfig): string {
  const { cacheDir } = hubSettings(processEnvironment());
  requireCacheReadable(cacheDir);
  const { models, numBytes } = listModels(cacheDir);
  if (json) {
    const listed = models.map((model) => toJson(model, cacheDir));
    return JSON.stringify({ cache: cacheDir, bytes: numBytes, models: listed });
  }
  if (models.length === 0) {
    return `No models in ${cacheDir}: quire pull Qwen/Qwen3-0.6B fetches one`;
  }
  const head = ["NAME", "REVISION", "SIZE", "TYPE", "RUNS HERE"];
  return [
    ...table([head, ...models.map((model) => toRow(model, cacheDir))]),
    `${formatByteSize(numBytes)} in ${cacheDir}`,
  ].join("\n");
}

/** Why a listed model cannot be served by this build; undefined where it can. */
function whyListedNotRunnable(model: ListedModel, cacheDir: string): string | undefined {
  const { config, missing, quants } = model;
  if (missing.length > 0 && quants.length > 0) return whyQuantNotRunnable(model, cacheDir);
  if (config !== undefined) {
    const why = whyNotRunnable(config);
    if (why !== undefined) return why.replace(/^config\.json: /, "");
  }
  return missing.length > 0 ? `not whole, lacks ${missing.join(", ")}` : undefined;
}

/** The same for GGUF files alone: of several, the first is asked. */
function whyQuantNotRunnable(
  { repo, commit, quants }: ListedModel,
  cacheDir: string,
): string | undefined {
  const found = findCached(cacheDir, { repo, revision: commit, quant: quants[0]! });
  if (found?.ggufFile === undefined || found.missing.length > 0) {
    return `not whole, lacks ${found?.missing.join(", ") ?? "its weights"}`;
  }
  return whyGgufNotRunnable(`${found.dir}/${found.ggufFile}`);
}

/** What is served by a name: a model without safetensors needs a quantization behind it. */
function servedAs({ repo, missing, quants }: ListedModel): string {
  return missing.length > 0 && quants.length > 0 ? `yes, as ${repo}:${quants[0]}` : "yes";
}

function toRow(model: ListedModel, cacheDir: string): string[] {
  const { repo, commit, refs, numBytes } = model;
  const why = whyListedNotRunnable(model, cacheDir);
  return [
    repo,
    [...refs, commit.slice(0, 8)].join(" "),
    formatByteSize(numBytes),
    typeOf(model) ?? "-",
    why === undefined ? servedAs(model) : `no: ${why}`,
  ];
}

function toJson(model: ListedModel, cacheDir: string): Record<string, unknown> {
  const { repo, commit, refs, numBytes, quants } = model;
  const why = whyListedNotRunnable(model, cacheDir);
  return {
    name: repo,
    commit,
    refs,
    bytes: numBytes,
    type: typeOf(model) ?? null,
    gguf: quants,
    runs: why === undefined,
    ...(why === undefined ? {} : { reason: why }),
  };
}

/** `model_type` of the config, or that there are GGUF files. */
function typeOf({ config, quants }: ListedModel): string | undefined {
  const type = (config as { model_type?: unknown } | null | undefined)?.model_type;
  // A file's word, which may hold anything.
  if (typeof type === "string") return type.replace(/\p{C}/gu, "?").slice(0, MAX_TYPE_CHARS);
  return quants.length > 0 ? `GGUF ${quants.join(" ")}` : undefined;
}

/** Rows in columns of their widest cells; the last column stays as it is. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((cell, i) => i === row.length - 1 ? cell : cell.padEnd(widths[i]!)).join("  ")
  );
}
