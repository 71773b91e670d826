import { z } from "zod";
import {
  modelFile,
  type ModelFiles,
  parseModelJson,
  readModelJson,
} from "../src/core/model_json.ts";
import type { Pooling } from "../src/core/prompt_readout.ts";

/** How a model makes one vector of a text, or why it cannot be done here. */
export type PoolingConfig =
  | { readonly pooling: Pooling; readonly isNormalized: boolean }
  | { readonly unsupported: string };

const MODULES = "modules.json";

const ModulesJson = z.array(z.object({ type: z.string(), path: z.string().default("") })).max(16);

/** Sentence Transformers' `Pooling`: one flag per way, or its name in later versions. */
const PoolingJson = z.looseObject({
  pooling_mode: z.union([z.string(), z.array(z.string())]).nullish(),
});

/** The flags and names of the ways that exist here. */
const WAYS: ReadonlyMap<string, Pooling> = new Map([
  ["pooling_mode_mean_tokens", "mean"],
  ["pooling_mode_lasttoken", "last"],
  ["pooling_mode_cls_token", "cls"],
  ["mean", "mean"],
  ["lasttoken", "last"],
  ["cls", "cls"],
]);

/** What a text generator is pooled by: only its last token has read all of the text. */
const GENERATOR: PoolingConfig = { pooling: "last", isNormalized: true };

/**
 * Reads how a model embeds texts: its `modules.json` (Sentence Transformers; Reimers and Gurevych
 * 2019, 1908.10084) and the configuration of its pooling. A model without them is pooled by its
 * last token and normalized.
 *
 * @throws {StartupError} naming the file, the field and its value.
 */
export function loadPoolingConfig(files: ModelFiles): PoolingConfig {
  const json = readModelJson(files, MODULES);
  if (json === undefined) return GENERATOR;
  const modules = parseModelJson(ModulesJson, json, modelFile(files, MODULES));
  let way: ReturnType<typeof readPooling> = GENERATOR;
  let isNormalized = false;
  for (const { type, path } of modules) {
    const name = type.split(".").at(-1)!;
    if (name === "Transformer") continue;
    if (name === "Pooling") way = readPooling(files, path);
    else if (name === "Normalize") isNormalized = true;
    else return { unsupported: `the model's ${MODULES} has a module ${JSON.stringify(name)}` };
  }
  return "pooling" in way ? { pooling: way.pooling, isNormalized } : way;
}

function readPooling(
  files: ModelFiles,
  path: string,
): { readonly pooling: Pooling } | { readonly unsupported: string } {
  // Of a model, not of the server's disk: no path leads out of its directory.
  if (!/^\w+$/.test(path)) return { unsupported: `its pooling lies in ${JSON.stringify(path)}` };
  const name = `${path}/config.json`;
  const json = readModelJson(files, name);
  if (json === undefined) return { unsupported: `${modelFile(files, name)} is missing` };
  const fields = parseModelJson(PoolingJson, json, modelFile(files, name));
  const { pooling_mode: named } = fields;
  const flags = Object.entries(fields)
    .filter(([field, value]) => field.startsWith("pooling_mode_") && value === true)
    .map(([field]) => field);
  const ways = named === undefined || named === null ? flags : [named].flat();
  const pooling = ways.length === 1 ? WAYS.get(ways[0]!) : undefined;
  return pooling === undefined
    ? { unsupported: `the model pools by ${ways.join(" and ") || "nothing"}` }
    : { pooling };
}
