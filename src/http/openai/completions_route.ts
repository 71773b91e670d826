import type { Handler } from "hono";
import { answer } from "../answer/answer.ts";
import { completionChoices } from "./completion_choices.ts";
import type { SequenceRequest } from "../../core/generation.ts";
import { toTexts, toTokenIds } from "./completion_prompts.ts";
import { CompletionsRequest } from "./completions_schema.ts";
import { numPromptsIn, promptsIn } from "../prompt/prompt_field.ts";
import { GenerationMeter } from "../metrics/generation_meter.ts";
import { compileConstraint, outputConstraintOf } from "../fields/grammar_fields.ts";
import { maxTokensOf } from "../fields/length_fields.ts";
import { checkTextChars, fitMaxTokens } from "../prompt/prompt_limits.ts";
import {
  checkNumScores,
  type PromptLogprobsOptions,
  readoutOf,
} from "../prompt/prompt_readings.ts";
import { readJson } from "../body/read_json.ts";
import { unsupported } from "../refusals.ts";
import {
  checkNumSequences,
  checkStreamOptions,
  promptLogprobsOf,
  toSamplingParams,
} from "../fields/sampling_fields.ts";
import { requireReady, servedName } from "../served_model.ts";
import type { Services } from "../services.ts";
import { UNSUPPORTED_IN_COMPLETIONS } from "../fields/unsupported_fields.ts";

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
    checkNumSequences(request, numPromptsIn(request.prompt), services.limits);
    const constraint = outputConstraintOf(request);

    const { maxModelLen, vocabSize } = requireReady(engine);
    const { maxCharsPerToken, defaults } = services.model;
    const given = promptsIn(request.prompt, "prompt", vocabSize);
    checkTextChars(given, "prompt", { maxModelLen, maxCharsPerToken });
    const prompts = await meter.tokenize(() => toTokenIds(request, given, text));
    const texts = request.echo === true ? { echoedTexts: await toTexts(given, text) } : {};

    const numLogprobs = request.logprobs ?? undefined;
    const promptLogprobs = promptLogprobsIn(request);
    const readout = readoutOf(promptLogprobs);
    checkNumScores(prompts, promptLogprobs);
    const compiled = await meter.compile(() => compileConstraint(constraint, services.grammars));
    const maxTokensField = maxTokensOf(request);
    const sequences = prompts.flatMap((prompt): SequenceRequest[] => {
      const maxTokens = fitMaxTokens(prompt.length, "prompt", maxModelLen, {
        maxTokens: maxTokensField,
        fallback: DEFAULT_MAX_TOKENS,
      });
      const { nextSeed } = services;
      const context = { defaults, text, nextSeed, maxTokens, vocabSize, numLogprobs };
      // One sample reads the prompt for all of them.
      return toSamplingParams(request, context).map((params, i) => ({
        ...{ prompt, params, ...compiled },
        ...(i === 0 && readout !== undefined ? { readout } : {}),
      }));
    });
    const choiceWriter = completionChoices({
      text,
      hasLogprobs: numLogprobs !== undefined,
      sendsTokenIds: request.return_token_ids === true,
      prompts,
      numSamples: sequences.length / prompts.length,
      ...texts,
      promptLogprobs,
    });
    return await answer(c, services, { model, request, prompts, sequences, choiceWriter, meter });
  };
}

/**
 * The log-probabilities of prompts that a request wants.
 *
 * @throws {RequestError} where they have no place: in a search, and vLLM's in a stream.
 */
function promptLogprobsIn(request: CompletionsRequest): PromptLogprobsOptions {
  const listed = promptLogprobsOf(request);
  const echoed = request.echo === true ? request.logprobs ?? undefined : undefined;
  if (echoed !== undefined && request.use_beam_search === true) {
    throw unsupported(
      "echo",
      "echo is not supported with logprobs and use_beam_search: leave it out",
    );
  }
  return {
    ...(listed === undefined ? {} : { listed }),
    ...(echoed === undefined ? {} : { echoed }),
  };
}
