import { loadGenerationConfig } from "../../models/generation_config.ts";
import { readModel } from "../../models/registry.ts";
import type { Config } from "../core/config.ts";
import type { ModelFiles } from "../core/model_json.ts";
import type { SamplingDefaults, ServedModel } from "../http/services.ts";
import type { TextService } from "../tokenizer/text_service.ts";
import type { ModelSource } from "../weights/model_source.ts";
import { readingForms } from "./reading_forms.ts";

/** Variables about thinking that templates read. */
const THINKING_VARIABLES = ["enable_thinking", "thinking", "reasoning_effort"];
const THINKING_MARKS = { begin: "<think>", end: "</think>" };

/**
 * The model as clients know it, from its files and the flags; `name` is its own.
 *
 * @throws {StartupError} as `readingForms`.
 */
export async function describeModel(
  config: Config,
  { files, source, name }: {
    readonly files: ModelFiles;
    readonly source: ModelSource;
    readonly name: string;
  },
  text: TextService,
): Promise<ServedModel> {
  return {
    names: config.servedModelName.length > 0 ? config.servedModelName : [name],
    created: Math.floor(Date.now() / 1000),
    maxPositionEmbeddings: readModel(files).maxPositionEmbeddings,
    maxCharsPerToken: text.maxCharsPerToken,
    defaults: samplingDefaults(files),
    fileFormat: typeof files === "string" ? "safetensors" : "gguf",
    ...(text.chatTemplate === undefined ? {} : { chatTemplate: text.chatTemplate }),
    ...thinkingOf(text.chatTemplate ?? ""),
    ...await readingForms(config, { files, weights: () => source.openCheckpoint() }, text),
  };
}

/** How a model thinks, as far as its chat template tells: the marks, and what a request may set. */
export function thinkingOf(
  template: string,
): Pick<ServedModel, "thinking" | "templateVariables"> {
  const statements = (template.match(/\{[{%][\s\S]*?[%}]\}/g) ?? []).join("\n")
    .replace(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/g, "");
  const templateVariables = THINKING_VARIABLES
    .filter((name) => new RegExp(`(?<![.\\w])${name}\\b`).test(statements));
  const thinks = template.includes(THINKING_MARKS.end);
  return { templateVariables, ...(thinks ? { thinking: THINKING_MARKS } : {}) };
}

function samplingDefaults(files: ModelFiles): SamplingDefaults {
  const { eosTokenIds: _, ...defaults } = loadGenerationConfig(files);
  return defaults;
}
