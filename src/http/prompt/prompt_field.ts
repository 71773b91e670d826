import { z } from "zod";
import { RequestError } from "../../core/errors.ts";
import type { TokenId } from "../../core/ids.ts";
import { invalid } from "../refusals.ts";
import type { EncodeTextOptions, TextPort } from "../text_port.ts";
import { parseTokenIds } from "../fields/token_ids.ts";

/** Most prompts of one request; OpenAI's limit for embeddings, and twice vLLM's for completions. */
const MAX_PROMPTS = 2048;

/** One text or list of token ids, or a list of those; elements are checked by {@link promptsIn}. */
export const PromptField = z.union([z.string(), z.array(z.unknown()).min(1)]);
export type PromptField = z.output<typeof PromptField>;

/** One prompt: text, or the ids of one. */
export type Prompt = string | readonly TokenId[];

/** The number of prompts in a field, without a check of any; a list of ids is one prompt. */
export function numPromptsIn(field: PromptField): number {
  return typeof field === "string" || typeof field[0] === "number" ? 1 : field.length;
}

/**
 * The prompts in a field.
 *
 * @param param the field's name.
 * @throws {RequestError} on a prompt that is neither, and on an id outside `[0, vocabSize)`.
 */
export function promptsIn(
  field: PromptField,
  param: string,
  vocabSize: number,
): readonly Prompt[] {
  if (typeof field === "string") return [field];
  if (typeof field[0] === "number") return [parseTokenIds(field, param, vocabSize)];
  if (field.length > MAX_PROMPTS) {
    throw invalid(
      param,
      `${param} must be an array of at most ${MAX_PROMPTS} elements, got an array of ${field.length} elements`,
    );
  }
  return field.map((one, i) => {
    if (typeof one === "string") return one;
    if (Array.isArray(one)) return parseTokenIds(one, `${param}.${i}`, vocabSize);
    throw new RequestError(
      `${param}.${i} must be a string or an array of token ids, got ${typeof one}`,
      { code: "invalid_type", param: `${param}.${i}` },
    );
  });
}

/** Ids of each prompt, in order; texts are tokenized as one job with one limit. */
export async function encodePrompts(
  prompts: readonly Prompt[],
  text: Pick<TextPort, "encode">,
  options: EncodeTextOptions,
): Promise<Uint32Array[]> {
  const texts = prompts.filter((prompt) => typeof prompt === "string");
  const encoded = (await text.encode(texts, options)).values();
  return prompts.map((prompt) =>
    typeof prompt === "string" ? encoded.next().value! : Uint32Array.from(prompt)
  );
}

/** Tokens of all prompts together. */
export function numTokensOf(prompts: readonly Uint32Array[]): number {
  return prompts.reduce((sum, { length }) => sum + length, 0);
}
