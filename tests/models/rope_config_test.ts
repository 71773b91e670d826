import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { parseRope } from "../../models/rope_config.ts";
import { ropeFrequencies } from "../../models/rope_table.ts";
import { parseModel } from "../../models/registry.ts";
import { configJson } from "./config_fixtures.ts";

const LLAMA3 = {
  rope_type: "llama3",
  factor: 32,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};
const LLAMA3_PARSED = {
  type: "llama3",
  factor: 32,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositionEmbeddings: 8192,
};

function rope(changes: Record<string, unknown>) {
  const { theta, scaling } = parseModel(configJson(changes)).positionTables.rope!;
  return { ropeTheta: theta, ropeScaling: scaling as unknown };
}

Deno.test("parseRope() reads rope_theta and rope_scaling", () => {
  assertEquals(rope({ rope_theta: 500000.5, rope_scaling: LLAMA3 }), {
    ropeTheta: 500000.5,
    ropeScaling: LLAMA3_PARSED,
  });
  assertEquals(rope({ rope_scaling: null }).ropeScaling, undefined);
  assertEquals(rope({ rope_scaling: { rope_type: "default" } }).ropeScaling, undefined);
});

Deno.test("parseRope() reads rope_parameters, which win over rope_theta", () => {
  assertEquals(rope({ rope_theta: 1, rope_parameters: { ...LLAMA3, rope_theta: 5e5 } }), {
    ropeTheta: 5e5,
    ropeScaling: LLAMA3_PARSED,
  });
  assertEquals(rope({ rope_parameters: { rope_theta: 7, rope_type: "default" } }), {
    ropeTheta: 7,
    ropeScaling: undefined,
  });
});

Deno.test("parseRope() reads the older key type, rope_type first", () => {
  const linear = { type: "linear", factor: 4 };
  assertEquals(rope({ rope_scaling: linear }).ropeScaling, { type: "linear", factor: 4 });
  assertEquals(
    rope({ rope_scaling: { ...LLAMA3, type: "linear" } }).ropeScaling,
    LLAMA3_PARSED,
  );
});

function refuses(changes: Record<string, unknown>, part: string): void {
  assertThrows(() => parseModel(configJson(changes)), StartupError, part);
}

Deno.test("parseRope() refuses other scalings by name", () => {
  for (const type of ["ntk", "toString", 7]) {
    const name = JSON.stringify(type);
    refuses({ rope_scaling: { type, factor: 2 } }, `config.json rope_scaling: type is ${name}`);
    refuses({ rope_parameters: { rope_type: type } }, `config.json rope_parameters: type is`);
  }
  refuses(
    { rope_scaling: { type: "ntk" } },
    "known are default, linear, llama3, yarn, longrope, su, dynamic",
  );
});

const LONGROPE = {
  rope_type: "longrope",
  short_factor: [1, 1.5, 2, 2.5],
  long_factor: [1, 4, 16, 32],
};

Deno.test("parseRope() takes LongRoPE with both its lists, and where the second begins", () => {
  const longrope = (changes: Record<string, unknown>) => {
    const model = parseModel(configJson({ max_position_embeddings: 4096, ...changes }));
    const { scaling } = model.positionTables.rope!;
    return { ...model, scaling };
  };
  const scaling = {
    type: "longrope" as const,
    shortFactors: [1, 1.5, 2, 2.5],
    longFactors: [1, 4, 16, 32],
    // Of a context 16 times as long: log 16 over log 256 is a half.
    attentionFactor: Math.sqrt(1.5),
    originalMaxPositionEmbeddings: 256,
  };
  const outside = { rope_scaling: LONGROPE, original_max_position_embeddings: 256 };
  const model = longrope(outside);
  assertEquals(model.scaling, scaling);
  assertEquals([model.maxPositionEmbeddings, model.shortContextLen], [4096, 256]);
  assertEquals(model.warnings, []);
  const inside = { ...LONGROPE, original_max_position_embeddings: 256 };
  assertEquals(longrope({ rope_parameters: inside }).scaling, scaling);
  // The name of the first checkpoints.
  const { rope_type: _, ...untyped } = inside;
  assertEquals(longrope({ rope_scaling: { ...untyped, type: "su" } }).scaling, scaling);
  const given = longrope({ rope_scaling: { ...inside, attention_factor: 1.25 } });
  assertEquals(given.scaling, { ...scaling, attentionFactor: 1.25 });
});

Deno.test("parseRope() takes LongRoPE whole where both lists are one, or nothing is stretched", () => {
  const { long_factor } = LONGROPE;
  const same = { ...LONGROPE, short_factor: long_factor };
  const config = { max_position_embeddings: 4096, original_max_position_embeddings: 256 };
  const model = parseModel(configJson({ ...config, rope_scaling: same }));
  assertEquals([model.maxPositionEmbeddings, model.shortContextLen], [4096, undefined]);
  const short = parseModel(
    configJson({ ...config, max_position_embeddings: 256, rope_scaling: LONGROPE }),
  );
  assertEquals([short.maxPositionEmbeddings, short.shortContextLen], [256, undefined]);
  const { scaling } = short.positionTables.rope!;
  assertEquals(scaling?.type === "longrope" && scaling.attentionFactor, 1);
});

Deno.test("parseRope() takes a dynamic scaling within the original context, where it changes nothing", () => {
  const dynamic = { rope_type: "dynamic", factor: 4 };
  const model = parseModel(configJson({ rope_scaling: dynamic }));
  const plain = parseModel(configJson());
  assertEquals(model.maxPositionEmbeddings, 512);
  assertEquals(model.warnings, [
    "config.json rope_scaling is dynamic: contexts end at 512 tokens, from where frequencies " +
    "would change with every token",
  ]);
  const { rope } = model.positionTables;
  assertEquals(ropeFrequencies(rope!), ropeFrequencies(plain.positionTables.rope!));
  const within = { ...dynamic, original_max_position_embeddings: 100 };
  assertEquals(parseModel(configJson({ rope_parameters: within })).maxPositionEmbeddings, 100);
  refuses({ rope_scaling: { type: "dynamic" } }, 'field "factor" is missing');
  refuses({ rope_scaling: { ...dynamic, alpha: 1000 } }, 'field "alpha" is 1000: is not supported');
});

Deno.test("parseRope() refuses LongRoPE whose lists or numbers do not fit", () => {
  const refusesWith = (changes: Record<string, unknown>, part: string) =>
    refuses({ rope_scaling: { ...LONGROPE, ...changes } }, part);
  refusesWith({ short_factor: [1, 2, 3] }, 'field "short_factor" has 3 entries: must have one for');
  refusesWith({ long_factor: [1] }, 'field "long_factor" has 1 entries: must have one for each');
  refusesWith({ long_factor: undefined }, 'field "long_factor" is missing');
  refusesWith({ short_factor: [1, 0, 1, 1] }, 'field "short_factor.1" is 0');
  refusesWith({ short_mscale: 1.2 }, 'field "short_mscale" is 1.2: is not supported');
  refusesWith({ attention_factor: 0 }, 'field "attention_factor" is 0');
});

Deno.test("parseRope() refuses numbers out of bounds", () => {
  refuses({ rope_scaling: { type: "linear" } }, 'rope_scaling: field "factor" is missing');
  refuses({ rope_scaling: { type: "linear", factor: 0.5 } }, 'field "factor" is 0.5');
  refuses({ rope_scaling: { ...LLAMA3, low_freq_factor: 0 } }, 'field "low_freq_factor" is 0');
  refuses({ rope_scaling: { ...LLAMA3, high_freq_factor: 1 } }, "greater than low_freq_factor");
  refuses(
    { rope_scaling: { ...LLAMA3, original_max_position_embeddings: 0.5 } },
    'field "original_max_position_embeddings" is 0.5',
  );
  refuses({ rope_parameters: { rope_theta: -1 } }, 'rope_parameters: field "rope_theta" is -1');
});

Deno.test("parseRope() refuses settings it would have to ignore", () => {
  const perLayer = { full_attention: { rope_theta: 1e6 }, sliding_attention: { rope_theta: 1e4 } };
  refuses({ rope_parameters: perLayer }, "settings per kind of layer are not supported");
  refuses({ rope_parameters: { partial_rotary_factor: 0.25 } }, "partial_rotary_factor");
  refuses({ rope_scaling: "linear" }, 'field "rope_scaling" is "linear"');
});

Deno.test("parseRope() reads a part of a head in families that rotate one, and refuses it in others", () => {
  const partOf = (changes: Record<string, unknown>, allowsPart = true) =>
    parseRope(configJson(changes), "config.json", { headDim: 32, allowsPart }).table.rotaryDim;
  assertEquals(partOf({ partial_rotary_factor: 0.25 }), 8);
  assertEquals(partOf({ rope_parameters: { partial_rotary_factor: 0.5 } }), 16);
  assertEquals(partOf({ partial_rotary_factor: 1 }, false), 32);
  assertEquals(partOf({}), 32);
  for (const share of [0.2, 0.01]) {
    const config = { partial_rotary_factor: share };
    assertThrows(() => partOf(config), StartupError, "must be a multiple of 4 above 0");
  }
  refuses({ partial_rotary_factor: 0.5 }, "4 of 8 elements: must be 1 in this family");
  refuses({ partial_rotary_factor: 1.5 }, 'field "partial_rotary_factor" is 1.5');
});

Deno.test("parseRope() takes the settings of one kind of layer, where they are by kind", () => {
  const rope_parameters = {
    full_attention: { rope_type: "linear", factor: 8, rope_theta: 1e6 },
    sliding_attention: { rope_theta: 1e4 },
  };
  const settings = (kind: string, parameters: unknown = rope_parameters) =>
    parseRope(configJson({ rope_parameters: parameters }), "file", { headDim: 8, kind }).table;
  assertEquals(settings("full_attention"), {
    ...{ rotaryDim: 8, theta: 1e6, scaling: { type: "linear", factor: 8 } },
  });
  assertEquals(settings("sliding_attention"), { rotaryDim: 8, theta: 1e4, scaling: undefined });
  assertThrows(
    () => settings("chunked_attention"),
    StartupError,
    'file rope_parameters: field "chunked_attention" is missing',
  );
  const { full_attention: flat } = rope_parameters;
  assertEquals(settings("sliding_attention", flat), settings("full_attention"));
});

const YARN = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 2048 };
const YARN_PARSED = {
  ...{ type: "yarn", factor: 4, originalMaxPositionEmbeddings: 2048 },
  ...{ betaFast: 32, betaSlow: 1, isTruncated: true },
  attentionFactor: 0.1 * Math.log(4) + 1,
};

Deno.test("parseRope() reads YaRN, whose attention factor follows from the factor unless it is given", () => {
  const scaling = (changes: Record<string, unknown>) =>
    rope({ rope_scaling: { ...YARN, ...changes } }).ropeScaling;
  assertEquals(scaling({}), YARN_PARSED);
  assertEquals(scaling({ attention_factor: 1.5 }), { ...YARN_PARSED, attentionFactor: 1.5 });
  assertEquals(scaling({ beta_fast: 16, beta_slow: 2, truncate: false }), {
    ...{ ...YARN_PARSED, betaFast: 16, betaSlow: 2, isTruncated: false },
  });
  // A ratio of two temperatures where both are given, as DeepSeek's models have them.
  const ratio = (0.1 * 0.5 * Math.log(4) + 1) / (0.1 * 0.25 * Math.log(4) + 1);
  assertEquals(scaling({ mscale: 0.5, mscale_all_dim: 0.25 }), {
    ...{ ...YARN_PARSED, attentionFactor: ratio },
  });
  assertEquals(scaling({ mscale: 0.5 }), YARN_PARSED);
  assertEquals(scaling({ original_max_position_embeddings: null }), {
    ...{ ...YARN_PARSED, originalMaxPositionEmbeddings: 512 },
  });
});

Deno.test("parseRope() refuses a YaRN that cannot be, and makes it as long as it stretches", () => {
  refuses({ rope_scaling: { type: "yarn" } }, 'field "factor" is missing');
  refuses({ rope_scaling: { ...YARN, beta_slow: 33 } }, "must not be less than beta_slow");
  refuses({ rope_scaling: { ...YARN, attention_factor: 0 } }, 'field "attention_factor" is 0');
  const lengthOf = (changes: Record<string, unknown>) =>
    parseModel(configJson(changes)).maxPositionEmbeddings;
  assertEquals(lengthOf({ rope_scaling: YARN }), 8192);
  assertEquals(lengthOf({ rope_scaling: YARN, max_position_embeddings: 9000 }), 9000);
  assertEquals(lengthOf({ rope_scaling: { type: "linear", factor: 4 } }), 512);
});

function warningsOf(changes: Record<string, unknown>): readonly string[] {
  return parseModel(configJson(changes)).warnings;
}

Deno.test("parseRope() warns of a rope_scaling without a type, and says what it goes without", () => {
  assertEquals(warningsOf({ rope_scaling: { factor: 4, attn_factor: 2 } }), [
    'config.json rope_scaling has no type and counts as "default", without factor, attn_factor',
  ]);
  assertEquals(warningsOf({ rope_scaling: { rope_type: null } }), [
    'config.json rope_scaling has no type and counts as "default"',
  ]);
  assertEquals(warningsOf({ rope_parameters: { rope_theta: 7, factor: 8 } }), [
    'config.json rope_parameters has no type and counts as "default", without factor',
  ]);
});

Deno.test("parseRope() warns of empty rope_parameters, which hide no rope_scaling", () => {
  const json = { rope_parameters: {}, rope_scaling: LLAMA3 };
  assertEquals(warningsOf(json), ["config.json rope_parameters is empty and counts as absent"]);
  assertEquals(rope(json).ropeScaling, LLAMA3_PARSED);
  refuses({ rope_parameters: {}, rope_scaling: { type: "ntk" } }, 'type is "ntk"');
});

Deno.test("parseRope() warns of nothing that is complete", () => {
  const complete = [
    {},
    { rope_scaling: null, rope_parameters: null },
    { rope_scaling: LLAMA3 },
    { rope_parameters: { rope_theta: 7 } },
    { rope_parameters: { rope_theta: 7, rope_type: "default" } },
  ];
  for (const json of complete) assertEquals(warningsOf(json), []);
});
