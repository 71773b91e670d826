import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { YarnRopeScaling } from "../../models/rope_scaling.ts";
import { ropeFrequencies, ropeTable } from "../../models/rope_table.ts";

const YARN: YarnRopeScaling = {
  ...{ type: "yarn", factor: 4, originalMaxPositionEmbeddings: 2048 },
  ...{ betaFast: 32, betaSlow: 1, isTruncated: true, attentionFactor: 1.25 },
};

/** To twelve digits, computed in Python from the paper's formulas. */
const YARN_CASES = [
  {
    spec: { rotaryDim: 16, theta: 1e4, scaling: YARN },
    frequencies: [
      ...[1, 0.316227766017, 0.1, 0.0256935059889],
      ...[0.00625, 0.00138349647632, 0.00025, 7.90569415042e-05],
    ],
  },
  {
    spec: { rotaryDim: 16, theta: 1e4, scaling: { ...YARN, isTruncated: false } },
    frequencies: [
      ...[1, 0.316227766017, 0.1, 0.0238701923217],
      ...[0.00505697152113, 0.000811290381701, 0.00025, 7.90569415042e-05],
    ],
  },
  {
    spec: {
      rotaryDim: 16,
      theta: 1e6,
      scaling: {
        ...{ ...YARN, factor: 8, originalMaxPositionEmbeddings: 32_768 },
        ...{ betaFast: 16, betaSlow: 2 },
      },
    },
    frequencies: [
      ...[1, 0.177827941004, 0.0316227766017, 0.0056234132519],
      ...[0.0005625, 2.22284926255e-05, 3.95284707521e-06, 7.02926656488e-07],
    ],
  },
];

Deno.test("ropeFrequencies() has YaRN's frequencies", () => {
  for (const { spec, frequencies } of YARN_CASES) {
    ropeFrequencies(spec).forEach((frequency, i) => {
      assertAlmostEquals(frequency / frequencies[i]!, 1, 1e-10);
    });
  }
});

Deno.test("ropeFrequencies() of YaRN keeps what turns often in the original context, and stretches the rest", () => {
  const plain = ropeFrequencies({ rotaryDim: 128, theta: 1e6 });
  const yarn = ropeFrequencies({ rotaryDim: 128, theta: 1e6, scaling: YARN });
  const turns = plain.map((frequency) =>
    YARN.originalMaxPositionEmbeddings * frequency / 2 / Math.PI
  );
  plain.forEach((frequency, i) => {
    // The ramp begins and ends at whole pairs: one pair of grace on either side.
    if (turns[Math.min(i + 1, 63)]! > YARN.betaFast) assertEquals(yarn[i], frequency);
    if (turns[Math.max(i - 1, 0)]! < YARN.betaSlow) assertEquals(yarn[i], frequency / YARN.factor);
    assert(yarn[i]! <= frequency && yarn[i]! >= frequency / YARN.factor);
  });
});

Deno.test("ropeTable() multiplies angles by YaRN's attention factor", () => {
  const spec = { rotaryDim: 8, theta: 100, scaling: YARN };
  const table = ropeTable({ ...spec, maxPositions: 3 });
  const frequencies = ropeFrequencies(spec);
  for (let position = 0; position < 3; position++) {
    frequencies.forEach((frequency, i) => {
      const [cos, sin] = table.subarray(position * 8 + 2 * i);
      assertAlmostEquals(cos!, 1.25 * Math.cos(position * frequency), 1e-6);
      assertAlmostEquals(sin!, 1.25 * Math.sin(position * frequency), 1e-6);
    });
  }
});

Deno.test("LongRoPE divides each pair's frequency by a factor of its own, and multiplies angles", () => {
  const scaling = {
    ...{ type: "longrope", shortFactors: [1, 2.5], longFactors: [2, 5] } as const,
    attentionFactor: 1.25,
    originalMaxPositionEmbeddings: 256,
  };
  const spec = { rotaryDim: 4, theta: 100, scaling };
  assertEquals([...ropeFrequencies(spec)], [1, 0.1 / 2.5]);
  assertEquals([...ropeFrequencies(spec, true)], [0.5, 0.1 / 5]);
  const table = ropeTable({ ...spec, maxPositions: 3 });
  const expected = [1.25 * Math.cos(2), 1.25 * Math.sin(2)];
  assertEquals([...table.subarray(8, 10)], expected.map(Math.fround));
  assertEquals(table[10], Math.fround(1.25 * Math.cos(2 * (0.1 / 2.5))));
});
