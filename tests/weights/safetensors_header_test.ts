import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { StartupError } from "../../src/core/errors.ts";
import { headerBytes, parseHeader } from "../../src/weights/safetensors_header.ts";
import { rawFile } from "./checkpoint_files.ts";

/** Parses a whole file in memory as `openSafetensors` does. */
function parseFile(file: Uint8Array) {
  const length = headerBytes(file.subarray(0, 8), file.byteLength, "w.safetensors");
  return parseHeader(file.subarray(8, 8 + length), file.byteLength, "w.safetensors");
}

const TENSOR = { dtype: "F16", shape: [2, 3], data_offsets: [4, 16] };

function refuses(header: unknown, part: string, dataBytes = 16): void {
  const error = assertThrows(
    () => parseFile(rawFile(header, new Uint8Array(dataBytes))),
    StartupError,
    part,
  );
  assertEquals(error.message.startsWith("w.safetensors"), true);
}

Deno.test("parseHeader() places tensors, gaps and metadata allowed", () => {
  const tensors = parseFile(rawFile({ __metadata__: { a: "b" }, t: TENSOR }, new Uint8Array(16)));
  assertEquals([...tensors.keys()], ["t"]);
  const { info, begin } = tensors.get("t")!;
  assertEquals(info, { name: "t", dtype: "F16", shape: [2, 3], numElements: 6, bytes: 12 });
  const jsonBytes = JSON.stringify({ __metadata__: { a: "b" }, t: TENSOR }).length;
  assertEquals(begin, 8 + jsonBytes + 4);
});

Deno.test("parseHeader() accepts scalars, empty tensors and odd names", () => {
  const header =
    '{"__proto__":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,9007199254740991,2],"data_offsets":[4,4]}}   ';
  const tensors = parseFile(rawFile(header, new Uint8Array(4)));
  assertEquals(tensors.get("__proto__")!.info.numElements, 1);
  assertEquals(tensors.get("e")!.info.bytes, 0);
});

Deno.test("headerBytes() refuses a header longer than the file or the limit", () => {
  const file = rawFile({ t: TENSOR }, new Uint8Array(16));
  const view = new DataView(file.buffer);
  view.setBigUint64(0, BigInt(file.byteLength - 7), true);
  assertThrows(() => parseFile(file), StartupError, `the file has only ${file.byteLength} bytes`);
  view.setBigUint64(0, 2n ** 64n - 1n, true);
  assertThrows(() => parseFile(file), StartupError, "over the limit of 100000000");
  assertThrows(() => parseFile(new Uint8Array(7)), StartupError, "has 7 bytes");
});

Deno.test("parseHeader() refuses what is not a JSON object", () => {
  refuses("{", "header is not valid JSON");
  refuses("[]", "header is not a JSON object");
  refuses("null", "header is not a JSON object");
  refuses({ t: 7 }, 'tensor "t" is not described by an object');
});

Deno.test("parseHeader() refuses an unknown dtype by its name and the tensor's", () => {
  refuses({ "a.b": { ...TENSOR, dtype: "F8_E4M3" } }, 'tensor "a.b" has dtype "F8_E4M3"');
  refuses({ t: { ...TENSOR, dtype: "toString" } }, 'has dtype "toString"');
  refuses({ t: { ...TENSOR, dtype: undefined } }, "has dtype");
});

Deno.test("parseHeader() refuses shapes that are not counts", () => {
  for (const shape of [[-1], [1.5], ["2"], "6", null, [2 ** 53], new Array(9).fill(1)]) {
    refuses({ t: { ...TENSOR, shape } }, 'tensor "t" has shape');
  }
});

Deno.test("parseHeader() refuses offsets outside the file, reversed or not integers", () => {
  refuses({ t: { ...TENSOR, data_offsets: [4, 17] } }, "must lie in order within 16 bytes");
  refuses({ t: { ...TENSOR, data_offsets: [16, 4] } }, "must lie in order");
  for (const offsets of [[4], [4, 8, 16], [-4, 8], [0.5, 12.5], ["0", "12"], null]) {
    refuses({ t: { ...TENSOR, data_offsets: offsets } }, "must be two non-negative integers");
  }
});

Deno.test("parseHeader() refuses a size that shape and dtype do not give", () => {
  refuses({ t: { ...TENSOR, shape: [2, 4] } }, "F16 of shape [2,4] needs 16");
  refuses({ t: { ...TENSOR, dtype: "F32" } }, "needs 24");
  // 2^64 elements: none at all in 64-bit arithmetic.
  const wrapping = { ...TENSOR, shape: [2 ** 32, 2 ** 32], data_offsets: [4, 4] };
  refuses({ t: wrapping }, "has 0 bytes");
  const huge = new Array(8).fill(Number.MAX_SAFE_INTEGER);
  refuses({ t: { ...TENSOR, shape: huge } }, "has 12 bytes");
});

Deno.test("parseHeader() refuses tensors that overlap", () => {
  const other = { dtype: "F16", shape: [2], data_offsets: [0, 4] };
  parseFile(rawFile({ t: TENSOR, u: other }, new Uint8Array(16)));
  refuses({ t: TENSOR, u: { ...other, data_offsets: [2, 6] } }, 'tensors "u" and "t" overlap');
  refuses({ t: TENSOR, u: TENSOR }, "overlap");
});

Deno.test("parseHeader() never accepts a tensor beyond the file, whatever bytes change", () => {
  const good = rawFile({
    a: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
    b: { dtype: "BF16", shape: [2, 2], data_offsets: [8, 16] },
  }, new Uint8Array(16));
  const edits = fc.array(fc.tuple(fc.nat(good.byteLength - 17), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(edits, fc.nat(good.byteLength), (changes, length) => {
      const file = good.slice(0, Math.max(length, good.byteLength - 20));
      for (const [at, byte] of changes) if (at < file.byteLength) file[at] = byte;
      try {
        for (const { info, begin } of parseFile(file).values()) {
          assertEquals(begin >= 8 && begin + info.bytes <= file.byteLength, true);
        }
      } catch (error) {
        assertEquals(error instanceof StartupError, true, String(error));
      }
    }),
    { seed: 7, numRuns: 2000 },
  );
});
