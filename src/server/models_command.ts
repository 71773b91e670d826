import { formatByteSize } from "../base/byte_size.ts";
import { processEnvironment } from "../core/environment.ts";
import type { ModelsConfig } from "../core/hub_config.ts";
import { hubSettings } from "../hub/hub_settings.ts";
import { type ListedModel, listModels } from "../hub/list_models.ts";
import { requireCacheReadable } from "../hub/permissions.ts";
import { whyNotRunnable } from "./why_not_runnable.ts";

const MAX_TYPE_CHARS = 32;

/** What `quire models` prints. @throws {HubError} where the cache may not be read. */
export function modelsCommand({ json }: ModelsConfig): string {
  const { cacheDir } = hubSettings(processEnvironment());
  requireCacheReadable(cacheDir);
  const { models, numBytes } = listModels(cacheDir);
  if (json) return JSON.stringify({ cache: cacheDir, bytes: numBytes, models: models.map(toJson) });
  if (models.length === 0) {
    return `No models in ${cacheDir}: quire pull Qwen/Qwen3-0.6B fetches one`;
  }
  const head = ["NAME", "REVISION", "SIZE", "TYPE", "RUNS HERE"];
  return [
    ...table([head, ...models.map(toRow)]),
    `${formatByteSize(numBytes)} in ${cacheDir}`,
  ].join("\n");
}

/** Why a listed model cannot be served by this build; undefined where it can. */
export function whyListedNotRunnable(model: ListedModel): string | undefined {
  const { config, missing, quants } = model;
  if (missing.length > 0 && quants.length > 0) return "GGUF files are not read yet";
  if (config !== undefined) {
    const why = whyNotRunnable(config);
    if (why !== undefined) return why.replace(/^config\.json: /, "");
  }
  return missing.length > 0 ? `not whole, lacks ${missing.join(", ")}` : undefined;
}

function toRow(model: ListedModel): string[] {
  const { repo, commit, refs, numBytes } = model;
  const why = whyListedNotRunnable(model);
  return [
    repo,
    [...refs, commit.slice(0, 8)].join(" "),
    formatByteSize(numBytes),
    typeOf(model) ?? "-",
    why === undefined ? "yes" : `no: ${why}`,
  ];
}

function toJson(model: ListedModel): Record<string, unknown> {
  const { repo, commit, refs, numBytes, quants } = model;
  const why = whyListedNotRunnable(model);
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
