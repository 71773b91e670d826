import type { CompletionsRequest } from "./completions_schema.ts";
import { encodePrompts, type Prompt } from "../prompt/prompt_field.ts";
import { unsupported } from "../refusals.ts";
import type { TextPort } from "../text_port.ts";

/**
 * Ids of each prompt of a completion; texts are tokenized as one job with one limit.
 *
 * With a `suffix`, what is completed stands between the prompt and it: the model's fill-in tokens
 * are put around both (Bavarian et al. 2022, 2207.14255).
 *
 * @throws {RequestError} for a suffix that the model has no tokens for, or with `echo`.
 */
export async function toTokenIds(
  request: CompletionsRequest,
  prompts: readonly Prompt[],
  text: TextPort,
): Promise<Uint32Array[]> {
  const suffix = request.suffix ?? "";
  if (suffix !== "") return await filledIn(request, prompts, text, suffix);
  const addSpecialTokens = request.add_special_tokens ?? true;
  return await encodePrompts(prompts, text, { addSpecialTokens });
}

async function filledIn(
  { echo, add_special_tokens }: CompletionsRequest,
  prompts: readonly Prompt[],
  text: TextPort,
  suffix: string,
): Promise<Uint32Array[]> {
  const { fillIn } = text;
  const refusal = fillIn === undefined
    ? "the model has no tokens for filling text in"
    : echo === true
    ? "a prompt with a suffix has no text to echo"
    : undefined;
  if (fillIn === undefined || refusal !== undefined) {
    throw unsupported("suffix", `suffix is not supported here: ${refusal}`);
  }
  const plain = { addSpecialTokens: false };
  const [before, behind] = await text.encode(["", suffix], plain);
  const [around] = add_special_tokens === false ? [before] : await text.encode([""]);
  return (await encodePrompts(prompts, text, plain)).map((ids) =>
    Uint32Array.of(
      ...around!,
      fillIn.prefix,
      ...ids,
      fillIn.suffix,
      ...behind!,
      fillIn.middle,
    )
  );
}

/** The text of each prompt; ids are detokenized as one job with one limit. */
export async function toTexts(prompts: readonly Prompt[], text: TextPort): Promise<string[]> {
  const decoded = await text.decode(prompts.filter((prompt) => typeof prompt !== "string"));
  const next = decoded.values();
  return prompts.map((prompt) => typeof prompt === "string" ? prompt : next.next().value!);
}
