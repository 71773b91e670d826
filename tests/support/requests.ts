import type { GenerationRequest } from "../../src/core/generation.ts";
import type { SamplingParams } from "../../src/core/sampling_params.ts";

/** Greedy parameters that end after `maxTokens` only, unless overridden. */
export function samplingParams(overrides: Partial<SamplingParams> = {}): SamplingParams {
  return {
    maxTokens: 4,
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    seed: 0,
    stopTokenIds: [],
    ...overrides,
  };
}

/** A request of one sequence whose prompt is `numPromptTokens` times token 1. */
export function requestOf(
  id: string,
  numPromptTokens: number,
  overrides: Partial<SamplingParams> = {},
): GenerationRequest {
  const prompt = new Uint32Array(numPromptTokens).fill(1);
  return { id, sequences: [{ prompt, params: samplingParams(overrides) }] };
}
