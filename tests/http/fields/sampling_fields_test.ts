import { assertEquals, assertThrows } from "@std/assert";
import { z } from "zod";
import { RequestError } from "../../../src/core/errors.ts";
import {
  checkStreamOptions,
  SAMPLING_FIELDS,
  type SamplingFields,
  stopsOf,
  toSamplingParams,
} from "../../../src/http/fields/sampling_fields.ts";

const Schema = z.looseObject(SAMPLING_FIELDS);

function paramsOf(request: SamplingFields, defaults = {}) {
  return toSamplingParams(request, {
    defaults,
    text: { eosTokenIds: [2] },
    nextSeed: () => 77,
    maxTokens: 5,
    vocabSize: 300,
    numLogprobs: undefined,
  });
}

Deno.test("toSamplingParams() falls back to the model's defaults, then to the neutral values", () => {
  assertEquals(paramsOf({}), [{
    maxTokens: 5,
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    seed: 77,
    stopTokenIds: [2],
  }]);
  const defaults = { temperature: 0.6, topP: 0.9, topK: 20, minP: 0.1 };
  const [own] = paramsOf({ temperature: 0, top_k: -1 }, defaults);
  assertEquals([own!.temperature, own!.topP, own!.topK, own!.minP], [0, 0.9, 0, 0.1]);
});

Deno.test("toSamplingParams() penalizes repetition as the model's makers do, unless told otherwise or searching", () => {
  const penaltyOf = (request: SamplingFields) =>
    paramsOf(request, { repetitionPenalty: 1.05 })[0]!.repetitionPenalty;
  assertEquals(penaltyOf({}), 1.05);
  assertEquals(penaltyOf({ repetition_penalty: null }), 1.05);
  assertEquals(penaltyOf({ repetition_penalty: 1 }), undefined);
  assertEquals(penaltyOf({ repeat_penalty: 1.3 }), 1.3);
  assertEquals(penaltyOf({ use_beam_search: true }), undefined);
});

Deno.test("toSamplingParams() seeds the samples in a row and maps negative seeds to others", () => {
  assertEquals(paramsOf({ seed: 5, n: 3 }).map(({ seed }) => seed), [5, 6, 7]);
  assertEquals(paramsOf({ seed: -1 })[0]!.seed, 77);
  assertEquals(paramsOf({ seed: -2 })[0]!.seed, Number.MAX_SAFE_INTEGER - 1);
  assertEquals(paramsOf({ seed: 0 })[0]!.seed, 0);
});

Deno.test("toSamplingParams() joins the model's stop tokens with the request's", () => {
  assertEquals(paramsOf({ stop_token_ids: [7, 2, 7] })[0]!.stopTokenIds, [2, 7]);
  assertEquals(paramsOf({ ignore_eos: true })[0]!.stopTokenIds, []);
  assertEquals(paramsOf({ ignore_eos: true, stop_token_ids: [7] })[0]!.stopTokenIds, [7]);
});

Deno.test("toSamplingParams() keeps exactly the likeliest token for a nucleus of 0", () => {
  const [params] = paramsOf({ top_p: 0, top_k: 50 });
  assertEquals([params!.topP, params!.topK], [1, 1]);
});

Deno.test("toSamplingParams() gives all samples what is asked of the logits", () => {
  const params = paramsOf({ n: 2, presence_penalty: 0.5, min_tokens: 3, logit_bias: { "7": -1 } });
  for (const { presencePenalty, minTokens, logitBias } of params) {
    assertEquals([presencePenalty, minTokens, logitBias], [0.5, 3, [[7, -1]]]);
  }
  const allowed = { allowed_token_ids: [2], min_tokens: 1 };
  assertThrows(() => paramsOf(allowed), RequestError, "stop tokens only");
  assertEquals(paramsOf({ ...allowed, ignore_eos: true }).length, 1);
});

Deno.test("SAMPLING_FIELDS accept null and bounds and refuse what lies beyond", () => {
  const accepted = [
    { temperature: null, n: null, stop: null, seed: null },
    { temperature: 0, top_p: 1, top_k: -1, min_p: 1, n: 64, max_tokens: 1 },
    { stop: "a" },
    { stop: new Array(16).fill("a"), stop_token_ids: [], unknown: {} },
  ];
  for (const body of accepted) assertEquals(Schema.safeParse(body).success, true);
  const refused = [
    { temperature: 2.01 },
    { temperature: NaN },
    { top_p: -0.1 },
    { top_k: -2 },
    { min_p: 1.1 },
    { n: 0 },
    { n: 65 },
    { seed: 0.5 },
    { seed: 2 ** 53 },
    { max_tokens: -2 },
    { max_tokens: 2 ** 31 },
    { stop: "" },
    { stop: new Array(17).fill("a") },
    { stop: "\ud83d" },
    { stop: "x".repeat(1025) },
    { stop_token_ids: [-1] },
    { stream: "yes" },
  ];
  for (const body of refused) {
    assertEquals(Schema.safeParse(body).success, false, JSON.stringify(body));
  }
});

Deno.test("stopsOf() makes a list of one, several and none", () => {
  assertEquals([stopsOf({}), stopsOf({ stop: "a" }), stopsOf({ stop: ["a", "b"] })], [
    [],
    ["a"],
    ["a", "b"],
  ]);
});

Deno.test("checkStreamOptions() refuses options of a stream that was not asked for", () => {
  checkStreamOptions({ stream: true, stream_options: { include_usage: true } });
  checkStreamOptions({ stream_options: null });
  const { data } = assertThrows(() => checkStreamOptions({ stream_options: {} }), RequestError);
  assertEquals(data.param, "stream_options");
});
