import { assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { type LogitFields, toLogitParams } from "../../../src/http/fields/logit_fields.ts";
import { CHAT, testServer } from "../server.ts";

const LIMITS = { vocabSize: 100, maxTokens: 8, stopTokenIds: [2, 3] };

function refusal(fields: LogitFields): [string | null | undefined, string] {
  const { data } = assertThrows(() => toLogitParams(fields, LIMITS), RequestError);
  assertEquals(data.status, 400);
  return [data.param, data.message];
}

Deno.test("toLogitParams() leaves out what changes nothing", () => {
  assertEquals(toLogitParams({}, LIMITS), {});
  const neutral = {
    ...{ frequency_penalty: 0, presence_penalty: null, repetition_penalty: 1, repeat_penalty: 1 },
    ...{ logit_bias: {}, min_tokens: 0, allowed_token_ids: null },
  };
  assertEquals(toLogitParams(neutral, LIMITS), {});
});

Deno.test("toLogitParams() takes penalties, biases, allowed tokens and a least length", () => {
  const fields = {
    ...{ frequency_penalty: -2, presence_penalty: 1.5, repetition_penalty: 1.2, min_tokens: 8 },
    logit_bias: { "99": 100, "0": -0.5 },
    allowed_token_ids: [0, 33, 99, 33],
  };
  assertEquals(toLogitParams(fields, LIMITS), {
    ...{ frequencyPenalty: -2, presencePenalty: 1.5, repetitionPenalty: 1.2, minTokens: 8 },
    logitBias: [[0, -0.5], [99, 100]],
    allowedTokens: Uint32Array.of(1, 2, 0, 8),
  });
  assertEquals(toLogitParams({ repeat_penalty: 1.3 }, LIMITS), { repetitionPenalty: 1.3 });
});

Deno.test("toLogitParams() refuses by field, limit and value", () => {
  const [BIAS, ALLOWED] = ["logit_bias", "allowed_token_ids"];
  const keyed = "logit_bias must be keyed by token ids, integers from 0 to 99, got";
  assertEquals(refusal({ logit_bias: { "100": 1 } }), [BIAS, `${keyed} "100"`]);
  assertEquals(refusal({ logit_bias: { "1.5": 1 } }), [BIAS, `${keyed} "1.5"`]);
  assertEquals(refusal({ logit_bias: { "": 1 } }), [BIAS, `${keyed} ""`]);
  const [param, message] = refusal({ logit_bias: { "5": -100.5 } });
  assertEquals([param, message], [
    "logit_bias.5",
    "logit_bias.5 must be a number from -100 to 100, got -100.5",
  ]);
  assertEquals(refusal({ logit_bias: { "5": "x" } })[1].endsWith("got string"), true);
  const many = Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 1]));
  assertEquals(refusal({ logit_bias: many }), [
    BIAS,
    "logit_bias must name at most 1024 tokens, got 1025",
  ]);
  assertEquals(refusal({ min_tokens: 9 }), [
    "min_tokens",
    "min_tokens must be at most the 8 tokens that the answer may have, got 9",
  ]);
  assertEquals(refusal({ allowed_token_ids: [5, 100] })[0], "allowed_token_ids.1");
  assertEquals(refusal({ allowed_token_ids: new Array(101).fill(1) })[0], ALLOWED);
  assertEquals(refusal({ allowed_token_ids: [2, 3], min_tokens: 1 })[0], ALLOWED);
  assertEquals(refusal({ repetition_penalty: 1.1, repeat_penalty: 1.2 })[0], "repeat_penalty");
});

Deno.test("both endpoints take these fields within their bounds and refuse what lies beyond", async () => {
  const server = testServer();
  const accepted = {
    ...{ frequency_penalty: 2, presence_penalty: -2, repetition_penalty: 0.01, min_tokens: 2 },
    ...{ logit_bias: { "5": -100 }, allowed_token_ids: [5], max_tokens: 4 },
  };
  const refused: [Record<string, unknown>, string][] = [
    [{ frequency_penalty: 2.1 }, "frequency_penalty"],
    [{ presence_penalty: "1" }, "presence_penalty"],
    [{ repetition_penalty: 0 }, "repetition_penalty"],
    [{ repeat_penalty: 101 }, "repeat_penalty"],
    [{ logit_bias: [[5, false]] }, "logit_bias"],
    [{ logit_bias: { "5": 101 } }, "logit_bias.5"],
    [{ allowed_token_ids: [] }, "allowed_token_ids"],
    [{ allowed_token_ids: [-1] }, "allowed_token_ids.0"],
    [{ min_tokens: -1 }, "min_tokens"],
    [{ min_tokens: 5, max_tokens: 4 }, "min_tokens"],
  ];
  const endpoints = [["/v1/chat/completions", CHAT], ["/v1/completions", { prompt: "x" }]] as const;
  for (const [path, body] of endpoints) {
    const response = await server.post(path, { ...body, ...accepted });
    assertEquals(response.status, 200, await response.text());
    const { params } = server.engine.sequences.at(-1)!;
    assertEquals([params.frequencyPenalty, params.minTokens, params.logitBias], [2, 2, [[
      5,
      -100,
    ]]]);
    for (const [fields, param] of refused) {
      const answer = await server.post(path, { ...body, ...fields });
      assertEquals([answer.status, (await answer.json()).error.param], [400, param]);
    }
  }
});
