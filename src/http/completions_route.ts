import type { Handler } from "hono";
import { answer } from "./answer.ts";
import { completionsFormat } from "./completions_format.ts";
import { CompletionsRequest, numPromptsOf, type Prompt, promptsOf } from "./completions_schema.ts";
import { GenerationMeter } from "./generation_meter.ts";
import { formatOf } from "./grammar_fields.ts";
import { checkPromptChars, fitMaxTokens } from "./prompt_limits.ts";
import { readJson } from "./read_json.ts";
import { checkNumSequences, checkStreamOptions, toSamplingParams } from "./sampling_fields.ts";
import { requireReady, servedName } from "./served_model.ts";
import type { Services, TextService } from "./services.ts";
import { UNSUPPORTED_IN_COMPLETIONS } from "./unsupported_fields.ts";

/** OpenAI's default of `max_tokens`, which clients of this endpoint rely on. */
const DEFAULT_MAX_TOKENS = 16;

/**
 * `POST /v1/completions`. Special tokens in a prompt's text become their ids, as in vLLM, so that a
 * client can write whole conversations; `add_special_tokens: false` only leaves out those that the
 * model puts around every text.
 */
export function completionsRoute(services: Services): Handler {
  const { engine, text, metrics, now } = services;
  return async (c) => {
    const meter = new GenerationMeter(metrics, now);
    const request = await readJson(c, CompletionsRequest, UNSUPPORTED_IN_COMPLETIONS);
    const model = servedName(request.model, services.model);
    checkStreamOptions(request);
    checkNumSequences(request, numPromptsOf(request), services.limits);
    const asked = formatOf(request);

    const { maxModelLen, vocabSize } = requireReady(engine);
    const { maxCharsPerToken, defaults } = services.model;
    const given = promptsOf(request, vocabSize);
    for (const prompt of given) {
      if (typeof prompt !== "string") continue;
      checkPromptChars(prompt.length, "prompt", { maxModelLen, maxCharsPerToken });
    }
    const addSpecialTokens = request.add_special_tokens ?? true;
    const prompts = await toTokenIds(given, text, addSpecialTokens);

    const numLogprobs = request.logprobs ?? undefined;
    const grammar = asked &&
      { grammar: await services.grammars.compile(asked.format, asked.param) };
    const sequences = prompts.flatMap((prompt) => {
      const maxTokens = fitMaxTokens(prompt.length, "prompt", maxModelLen, {
        maxTokens: request.max_tokens,
        fallback: DEFAULT_MAX_TOKENS,
      });
      const { nextSeed } = services;
      const context = { defaults, text, nextSeed, maxTokens, vocabSize, numLogprobs };
      return toSamplingParams(request, context).map((params) => ({ prompt, params, ...grammar }));
    });
    const format = completionsFormat({
      text,
      hasLogprobs: numLogprobs !== undefined,
      sendsTokenIds: request.return_token_ids === true,
      prompts,
      numSamples: sequences.length / prompts.length,
      ...(request.echo === true ? { echoedTexts: await toTexts(given, text) } : {}),
    });
    return await answer(c, services, { model, request, prompts, sequences, format, meter });
  };
}

/** Ids of each prompt; texts are tokenized as one job with one limit. */
async function toTokenIds(
  prompts: readonly Prompt[],
  text: TextService,
  addSpecialTokens: boolean,
): Promise<Uint32Array[]> {
  const encoded = await text.encode(prompts.filter((prompt) => typeof prompt === "string"), {
    addSpecialTokens,
  });
  const next = encoded.values();
  return prompts.map((prompt) =>
    typeof prompt === "string" ? next.next().value! : Uint32Array.from(prompt)
  );
}

/** The text of each prompt; ids are detokenized as one job with one limit. */
async function toTexts(prompts: readonly Prompt[], text: TextService): Promise<string[]> {
  const decoded = await text.decode(prompts.filter((prompt) => typeof prompt !== "string"));
  const next = decoded.values();
  return prompts.map((prompt) => typeof prompt === "string" ? prompt : next.next().value!);
}
