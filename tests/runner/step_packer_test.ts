import { assertEquals, assertThrows } from "@std/assert";
import {
  DRAW,
  DRAW_WORDS,
  GROUP_WORDS,
  HEADER_WORDS,
  headerWords,
  QUERY_TILE,
  QUERY_TILE_WORDS,
  SEQ,
  SEQ_WORDS,
  STEP,
  tableEntry,
} from "../../kernels/step.ts";
import { InvariantError } from "../../src/base/invariant.ts";
import { NO_BLOCK } from "../../src/core/cache_group.ts";
import { READS_ALL, type ReadSpan } from "../../src/core/read_span.ts";
import type { Batch } from "../../src/core/batch.ts";
import { bitsToF32 } from "../../src/base/float_bits.ts";
import { maxStepWords, StepPacker } from "../../src/runner/step_packer.ts";

const LIMITS = {
  ...{ maxTokens: 32, maxSeqs: 3, maxBlocksPerSeq: 4, maxSplits: 8 },
  ...{ blockSize: 8, queryTile: 4, splitLen: 6 },
};
const PLAIN = {
  temperature: 0.7,
  topK: 9,
  topP: 0.5,
  minP: 0.25,
  seed: 2 ** 33 + 5,
  outputIndex: 6,
};

/** A prefill of six tokens that ends its prompt, a decode, and a chunk that draws nothing. */
const BATCH: Batch = {
  step: 0,
  numTokens: 9,
  chunks: [
    {
      sequenceId: 10,
      tokens: Uint32Array.of(1, 2, 3, 4, 5, 6),
      start: 6,
      blockTables: [[7, 3]],
      draw: PLAIN,
    },
    {
      sequenceId: 11,
      tokens: Uint32Array.of(40),
      start: 16,
      blockTables: [[9, 8, 5]],
      draw: { ...PLAIN, numLogprobs: 0 },
    },
    { sequenceId: 12, tokens: Uint32Array.of(50, 51), start: 0, blockTables: [[1, 2]] },
  ],
};

const region = (
  words: Uint32Array,
  from: number,
  length: number,
) => [...words.subarray(from, from + length)];

Deno.test("StepPacker.pack() lays decodes before prefills, each row with its slot", () => {
  const { words, dims, sampledChunks } = new StepPacker(LIMITS).pack(BATCH);
  assertEquals(dims, {
    numTokens: 9,
    numDecodes: 1,
    numQueryTiles: 3,
    numDraws: 2,
    numCopies: [0],
    numLogprobDraws: 1,
    numAdjusts: 0,
    maxAdjustEntries: 0,
    numBitmasks: 0,
    numSplits: [3],
    numNextSplits: [3],
  });
  assertEquals(sampledChunks, [1, 0]);
  assertEquals(region(words, words[STEP.tokens]!, 9), [40, 1, 2, 3, 4, 5, 6, 50, 51]);
  assertEquals(region(words, words[STEP.positions]!, 9), [16, 6, 7, 8, 9, 10, 11, 0, 1]);
  assertEquals(region(words, words[STEP.slots]!, 9), [40, 62, 63, 24, 25, 26, 27, 8, 9]);
});

Deno.test("StepPacker.pack() cuts prefills into tiles and gives each sequence its table", () => {
  const { words } = new StepPacker(LIMITS).pack(BATCH);
  const tile = (n: number) => {
    const at = words[STEP.queryTiles]! + n * QUERY_TILE_WORDS;
    return [QUERY_TILE.seq, QUERY_TILE.firstRow, QUERY_TILE.numRows, QUERY_TILE.position].map((
      word,
    ) => words[at + word]);
  };
  assertEquals([tile(0), tile(1), tile(2)], [[1, 1, 4, 6], [1, 5, 2, 10], [2, 7, 2, 0]]);
  const seq = (n: number) => {
    const at = words[STEP.seqs]! + n * SEQ_WORDS;
    return [SEQ.firstRow, SEQ.numRows, SEQ.contextLen].map((word) => words[at + word]);
  };
  assertEquals([seq(0), seq(1), seq(2)], [[0, 1, 17], [1, 6, 12], [7, 2, 2]]);
  const table = (n: number, length: number) =>
    region(words, words[words[STEP.seqs]! + n * SEQ_WORDS + SEQ.table]!, length);
  assertEquals([table(0, 3), table(1, 2), table(2, 1)], [[9, 8, 5], [7, 3], [1]]);
  assertEquals(words[words[STEP.seqs]! + 2 * SEQ_WORDS + SEQ.table]! + 1, words.length);
});

Deno.test("StepPacker.pack() lists the splits of decodes, sequence after sequence", () => {
  const [prefill, decode] = BATCH.chunks;
  const decodes = [18, 0, 6].map((start, i) => ({ ...decode!, sequenceId: i, start }));
  const limits = { ...LIMITS, maxSeqs: 4 };
  const { words, dims } = new StepPacker(limits).pack({
    step: 0,
    numTokens: 9,
    chunks: [prefill!, ...decodes],
  });
  assertEquals([dims.numSplits[0], words[STEP.numSplits]], [7, 7]);
  assertEquals(region(words, words[STEP.splits]!, 7), [0, 0, 0, 0, 1, 2, 2]);
  const firsts = [0, 1, 2].map((n) => words[words[STEP.seqs]! + n * SEQ_WORDS + SEQ.firstSplit]);
  assertEquals(firsts, [0, 4, 5]);
  const [copies, splits] = [words[STEP.copies]!, words[STEP.splits]!];
  assertEquals(copies - splits, 7);
});

Deno.test("StepPacker.pack() counts the splits that the decodes have one token further", () => {
  const splitsAt = (...starts: number[]) => {
    const chunks = starts.map((start, i) => ({ ...BATCH.chunks[1]!, sequenceId: i, start }));
    const { dims } = new StepPacker(LIMITS).pack({ step: 0, numTokens: 3, chunks });
    return [dims.numSplits[0], dims.numNextSplits[0]];
  };
  // Positions 0 to 5 are one split.
  assertEquals(splitsAt(0, 4, 6), [4, 4]);
  assertEquals(splitsAt(5, 4, 11), [4, 6]);
  assertEquals(splitsAt(6, 5, 12), [6, 7]);
});

Deno.test("StepPacker.pack() writes what each draw needs", () => {
  const { words } = new StepPacker(LIMITS).pack(BATCH);
  const [first, second] = [0, 1].map((r) => words.subarray(words[STEP.draws]! + r * DRAW_WORDS));
  assertEquals(first![DRAW.row], 0);
  assertEquals(second![DRAW.row], 6);
  assertEquals(bitsToF32(second![DRAW.temperature]!), Math.fround(0.7));
  assertEquals(bitsToF32(second![DRAW.topP]!), 0.5);
  assertEquals(bitsToF32(second![DRAW.minP]!), 0.25);
  const whole = [
    DRAW.topK,
    DRAW.seedLow,
    DRAW.seedHigh,
    DRAW.outputIndex,
    DRAW.numLogprobs,
  ];
  assertEquals(whole.map((word) => second![word]), [9, 5, 2, 6, 0]);
  assertEquals(first![DRAW.numLogprobs], 1);
});

Deno.test("StepPacker.pack() leaves nothing of an earlier step in the header", () => {
  const packer = new StepPacker(LIMITS);
  packer.pack(BATCH);
  const { words } = packer.pack({ step: 1, numTokens: 2, chunks: [BATCH.chunks[2]!] });
  assertEquals(words[STEP.numDraws], 0);
  assertEquals(words[STEP.numDecodes], 0);
  assertEquals(words.length, HEADER_WORDS + 3 * 2 + SEQ_WORDS + QUERY_TILE_WORDS + 1);
});

Deno.test("StepPacker.pack() refuses steps beyond its limits and positions beyond a table", () => {
  const packer = new StepPacker(LIMITS);
  const long = { ...BATCH.chunks[2]!, tokens: new Uint32Array(33), blockTables: [[0, 1, 2, 3, 4]] };
  assertThrows(() => packer.pack({ step: 0, numTokens: 33, chunks: [long] }), InvariantError, "33");
  const lost = { ...BATCH.chunks[1]!, blockTables: [[9, 8]] };
  assertThrows(() => packer.pack({ step: 0, numTokens: 1, chunks: [lost] }), InvariantError, "16");
  const many = [0, 1, 2].map((i) => ({ ...BATCH.chunks[1]!, sequenceId: i }));
  const splits = { step: 0, numTokens: 3, chunks: many };
  assertThrows(() => packer.pack(splits), InvariantError, "step of 9 splits, made for 8");
});

Deno.test("maxStepWords covers the largest step", () => {
  const chunks = [0, 1, 2].map((i) => ({
    ...BATCH.chunks[0]!,
    sequenceId: i,
    tokens: new Uint32Array([10, 10, 12][i]!),
    start: 32 - [10, 10, 12][i]!,
    blockTables: [[1, 2, 3, 4]],
  }));
  const { words } = new StepPacker(LIMITS).pack({ step: 0, numTokens: 32, chunks });
  assertEquals(words.length <= maxStepWords(LIMITS), true);
});

Deno.test("StepPacker.pack() lists the blocks to copy, before the tables", () => {
  const copies = [{ group: 0, from: 4, to: 9, numTokens: 3 }, {
    group: 0,
    from: 5,
    to: 2,
    numTokens: 8,
  }];
  const { words, dims } = new StepPacker(LIMITS).pack({ ...BATCH, copies });
  assertEquals([dims.numCopies[0], words[STEP.numCopies]], [2, 2]);
  assertEquals(region(words, words[STEP.copies]!, 4), [4, 9, 5, 2]);
  assertEquals(region(words, words[words[STEP.seqs]! + SEQ.table]!, 3), [9, 8, 5]);
  const many = Array.from(
    { length: 4 },
    (_, i) => ({ group: 0, from: i, to: i + 4, numTokens: 1 }),
  );
  assertThrows(() => new StepPacker(LIMITS).pack({ ...BATCH, copies: many }), InvariantError, "4");
});

/** Full attention, and a window of 7 positions. */
const SPANS = [READS_ALL, { window: 7, isChunked: false, numSinkTokens: 0 }];

/** The batch with tables of both groups; in the second one, blocks before the windows are dead. */
const GROUPED: Batch = {
  ...BATCH,
  copies: [
    { group: 1, from: 4, to: 9, numTokens: 3 },
    { group: 0, from: 5, to: 2, numTokens: 8 },
    { group: 1, from: 6, to: 8, numTokens: 1 },
  ],
  chunks: BATCH.chunks.map((chunk, i) => ({
    ...chunk,
    blockTables: [chunk.blockTables[0]!, [[21, 22], [NO_BLOCK, 24, 25], [26, 27]][i]!],
  })),
};

Deno.test("StepPacker.pack() gives each cache group slots, splits, copies and live blocks of its own", () => {
  const { words, dims } = new StepPacker({ ...LIMITS, spans: SPANS }).pack(GROUPED);
  const single = new StepPacker(LIMITS).pack(BATCH);
  const at = (name: "slots" | "seqs" | "splits" | "copies", group: number) =>
    words[STEP[name] + group * GROUP_WORDS]!;
  const seq = (group: number, n: number) =>
    region(words, at("seqs", group) + n * SEQ_WORDS, SEQ_WORDS);
  assertEquals(words[STEP.tokens], headerWords(2));
  assertEquals(region(words, at("slots", 0), 9), [40, 62, 63, 24, 25, 26, 27, 8, 9]);
  assertEquals(region(words, at("slots", 1), 9), [200, 174, 175, 176, 177, 178, 179, 208, 209]);
  // Position 16 reads from 10 on, in splits of six: those of 6 and of 12.
  assertEquals([dims.numSplits, dims.numNextSplits], [[3, 2], [3, 2]]);
  assertEquals([dims.numCopies, single.dims.numSplits], [[1, 2], [3]]);
  assertEquals(region(words, at("splits", 1), 2), [0, 0]);
  assertEquals(region(words, at("copies", 1), 4), [4, 9, 6, 8]);
  assertEquals(region(words, at("copies", 0), 2), [5, 2]);
  // All but the table's word is the same in both.
  assertEquals(seq(0, 0).with(3, 0), seq(1, 0).with(3, 0));
  assertEquals([0, 1, 2].map((index) => tableEntry(words, seq(0, 0)[3]!, index)), [9, 8, 5]);
  assertEquals([1, 2].map((index) => tableEntry(words, seq(1, 0)[3]!, index)), [24, 25]);
  assertEquals(tableEntry(words, seq(1, 1)[3]!, 0), 21);
});

Deno.test("StepPacker.pack() leads to dead blocks only where sinks lie before them", () => {
  const sinks = { window: 7, isChunked: false, numSinkTokens: 1 };
  const pack = (span: ReadSpan) =>
    new StepPacker({ ...LIMITS, spans: [span] }).pack({
      ...{ step: 0, numTokens: 1 },
      chunks: [{ ...BATCH.chunks[1]!, blockTables: [[24, NO_BLOCK, 25]] }],
    });
  const [withSinks, without] = [pack(sinks), pack(SPANS[1]!)];
  const entry = ({ words }: typeof withSinks, index: number) =>
    tableEntry(words, words[words[STEP.seqs]! + SEQ.table]!, index);
  assertEquals([0, 1, 2].map((index) => entry(withSinks, index)), [24, 0xffffffff, 25]);
  assertEquals(entry(without, 2), 25);
  assertEquals(withSinks.words.length - without.words.length, 1 + 1, "its block and its split");
});

Deno.test("StepPacker.pack() refuses chunks without a table of each group, and dead slots", () => {
  const packer = new StepPacker({ ...LIMITS, spans: SPANS });
  assertThrows(() => packer.pack(BATCH), InvariantError, "no block table of cache group 1");
  const dead = { ...GROUPED.chunks[2]!, blockTables: [[1, 2], [NO_BLOCK]] };
  assertThrows(
    () => packer.pack({ step: 0, numTokens: 2, chunks: [dead] }),
    InvariantError,
    "position 0 has no block in its table of cache group 1",
  );
});

Deno.test("maxStepWords covers the largest step of several cache groups", () => {
  const limits = { ...LIMITS, maxSplits: 18, spans: [...SPANS, SPANS[1]!] };
  const table = [1, 2, 3, 4];
  const chunks = [0, 1, 2].map((i) => ({
    ...BATCH.chunks[0]!,
    sequenceId: i,
    tokens: new Uint32Array([1, 15, 16][i]!),
    start: 32 - [1, 15, 16][i]!,
    blockTables: [table, table, table],
  }));
  const copies = [0, 1, 2].flatMap((group) =>
    [0, 1, 2].map((from) => ({ group, from, to: from + 4, numTokens: 1 }))
  );
  const { words } = new StepPacker(limits).pack({ step: 0, numTokens: 32, chunks, copies });
  assertEquals(words.length <= maxStepWords(limits), true);
});

Deno.test("StepPacker.pack() names the rows of position tables: the positions, or those of long contexts", () => {
  const angles = (words: Uint32Array) => region(words, words[STEP.angles]!, 9);
  const limits = { ...LIMITS, shortContextLen: 100 };
  const plain = new StepPacker(limits).pack(BATCH).words;
  assertEquals(plain[STEP.angles], plain[STEP.positions]);
  const [prefill, ...others] = BATCH.chunks;
  const long = { ...BATCH, chunks: [{ ...prefill!, isLongContext: true as const }, ...others] };
  const { words } = new StepPacker(limits).pack(long);
  assertEquals(angles(words), [16, 106, 107, 108, 109, 110, 111, 0, 1]);
  assertEquals(region(words, words[STEP.positions]!, 9), [16, 6, 7, 8, 9, 10, 11, 0, 1]);
  assertThrows(() => new StepPacker(LIMITS).pack(long), InvariantError, "without rows for it");
});
