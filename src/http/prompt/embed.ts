import type { Context } from "hono";
import { checkPromptFits } from "../../core/context_limit.ts";
import { embeddingOf, vectorOf } from "./embedding_vector.ts";
import type { GenerationMeter } from "../metrics/generation_meter.ts";
import {
  encodePrompts,
  numPromptsIn,
  numTokensOf,
  type PromptField,
  promptsIn,
} from "./prompt_field.ts";
import { checkTextChars } from "./prompt_limits.ts";
import { checkNumPrompts, readPrompts } from "./read_prompts.ts";
import { invalid } from "../refusals.ts";
import { requireReady } from "../served_model.ts";
import type { Services } from "../services.ts";

/** What becomes vectors, and how; null counts as absent. */
export interface TextsToEmbed {
  readonly input: PromptField;
  /** So many first elements; default: all. */
  readonly dimensions?: number | null | undefined;
  /** Default: as the model's configuration says. */
  readonly normalize?: boolean | null | undefined;
  readonly add_special_tokens?: boolean | null | undefined;
  readonly cache_salt?: string | null | undefined;
}

/** A vector per prompt, in order, and how many tokens all prompts have. */
export interface Embedded {
  readonly vectors: readonly Float32Array[];
  readonly numTokens: number;
}

/**
 * Has the model make vectors of texts; undefined when the client has gone meanwhile.
 *
 * @throws {RequestError} when the served model cannot, or a text or number does not fit.
 */
export async function embed(
  c: Context,
  services: Services,
  { request, meter }: { readonly request: TextsToEmbed; readonly meter: GenerationMeter },
): Promise<Embedded | undefined> {
  const { engine, text, model, limits } = services;
  const form = embeddingOf(model);
  const dimensions = checkDimensions(request.dimensions ?? form.size, form.size);
  checkNumPrompts(numPromptsIn(request.input), "input", limits);

  const { maxModelLen, vocabSize } = requireReady(engine);
  const given = promptsIn(request.input, "input", vocabSize);
  const { maxCharsPerToken } = model;
  checkTextChars(given, "input", { maxModelLen, maxCharsPerToken });
  const addSpecialTokens = request.add_special_tokens ?? true;
  const prompts = await meter.tokenize(() => encodePrompts(given, text, { addSpecialTokens }));
  for (const { length } of prompts) checkPromptFits(length, "input", maxModelLen);

  const { pooling } = form;
  const read = await readPrompts(c, services, {
    idPrefix: "embd-",
    prompts,
    readout: { pooling },
    cacheSalt: request.cache_salt,
    meter,
  });
  if (read === undefined) return undefined;
  const isNormalized = request.normalize ?? form.isNormalized;
  return {
    vectors: read.reports.map(({ vector }) => vectorOf(vector!, { dimensions, isNormalized })),
    numTokens: numTokensOf(prompts),
  };
}

function checkDimensions(dimensions: number, size: number): number {
  if (dimensions <= size) return dimensions;
  throw invalid(
    "dimensions",
    `dimensions must be at most ${size}, the size of the model's vectors, got ${dimensions}`,
  );
}
