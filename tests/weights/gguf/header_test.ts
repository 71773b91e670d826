import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../../src/core/errors.ts";
import { openGguf } from "../../../src/weights/gguf/gguf_file.ts";
import { GGUF_TYPE, ggufFile, type Metadata } from "../../support/gguf_writer.ts";
import { LittleEndianWriter } from "../../support/little_endian_writer.ts";
import { withModelDir } from "../checkpoint_files.ts";
import { countingTensor, SMALL_METADATA, smallGguf } from "./small_gguf.ts";

/** What is wrong with a file, without its path. */
function refusal(bytes: Uint8Array): string {
  let message = "";
  withModelDir({ "a.gguf": bytes }, (dir) => {
    const error = assertThrows(() => openGguf(`${dir}/a.gguf`).close(), StartupError);
    message = error.message.replaceAll(`${dir}/`, "");
  });
  return message;
}

/** A header without tensors whose only pair is written by `put`. */
function withPair(put: (out: LittleEndianWriter) => void): Uint8Array {
  const out = new LittleEndianWriter().u32(0x46554747).u32(3).u64(0).u64(1);
  put(out);
  return out.bytes();
}

/** A file of one tensor described by the arguments, before 64 bytes of data. */
function withTensor(
  { name = "t", shape = [8], type = 0, offset = 0n, rank = shape.length }: {
    name?: string;
    /** Fastest dimension first. */
    shape?: (number | bigint)[];
    type?: number;
    offset?: bigint;
    rank?: number;
  },
): Uint8Array {
  const out = new LittleEndianWriter().u32(0x46554747).u32(3).u64(1).u64(0).string(name);
  out.u32(rank);
  for (const extent of shape) out.u64(Number(extent));
  out.u32(type).u64(Number(offset));
  const header = out.bytes();
  const file = new Uint8Array(Math.ceil(header.byteLength / 32) * 32 + 64);
  file.set(header);
  return file;
}

Deno.test("a header gives metadata of all types and tensors, slowest dimension first", () => {
  const metadata: Record<string, Metadata> = {
    "general.architecture": "llama",
    "a.flag": true,
    "a.count": { u64: 2 ** 40 },
    "a.number": { f32: 0.5 },
    "a.texts": { strings: ["", "ä🦙"] },
    "a.flags": { bools: [true, false] },
    "a.numbers": { f32s: [1, -0.25] },
    "a.ints": { i32s: [-1, 2] },
  };
  const tensors = { "t": countingTensor(3, 8), "u": countingTensor(5) };
  for (const alignment of [32, 8, 256]) {
    withModelDir({ "a.gguf": ggufFile(metadata, tensors, alignment) }, (dir) => {
      const gguf = openGguf(`${dir}/a.gguf`);
      const { metadata } = gguf;
      assertEquals(metadata.text("general.architecture"), "llama");
      assertEquals([metadata.flag("a.flag"), metadata.count("a.count")], [true, 2 ** 40]);
      assertEquals([metadata.number("a.number"), metadata.number("none")], [0.5, undefined]);
      assertEquals(metadata.texts("a.texts"), ["", "ä🦙"]);
      assertEquals(metadata.flags("a.flags"), [true, false]);
      assertEquals([metadata.numbers("a.numbers"), metadata.numbers("a.ints")], [[1, -0.25], [
        -1,
        2,
      ]]);
      const { shape, type, begin, bytes } = gguf.tensors.get("u")!;
      assertEquals([shape, type.name, begin % alignment, bytes], [[5], "F32", 0, 20]);
      assertEquals(gguf.tensors.get("t")!.shape, [3, 8]);
      assertEquals([...gguf.readVector("u")!], [0, 1, 2, 3, 4]);
      gguf.close();
      const error = assertThrows(() => metadata.count("a.texts"), StartupError);
      assertEquals(error.message, `${dir}/a.gguf: a.texts is ["","ä🦙"]: must be a count`);
    });
  }
});

Deno.test("what is no GGUF file of a known version is refused", () => {
  assertEquals(refusal(new Uint8Array(3)), "a.gguf is not a GGUF file");
  assertEquals(refusal(new Uint8Array(64)), "a.gguf is not a GGUF file");
  const file = smallGguf();
  for (
    const [version, message] of [
      [1, "a.gguf has version 1 of GGUF: known are 2 and 3"],
      [0x03000000, "a.gguf is a big-endian GGUF file, which is not supported"],
    ] as const
  ) {
    new DataView(file.buffer).setUint32(4, version, true);
    assertEquals(refusal(file), message);
  }
});

Deno.test("counts and lengths larger than the file are refused before anything is read", () => {
  const counts = (tensors: bigint, pairs: bigint) => {
    const file = smallGguf();
    new DataView(file.buffer).setBigUint64(8, tensors, true);
    new DataView(file.buffer).setBigUint64(16, pairs, true);
    return refusal(file).replace(/\d+ bytes are/, "N bytes are");
  };
  assertEquals(
    counts(2n ** 63n, 1n),
    "a.gguf: the list of tensors at byte 16 has 9223372036854775808 items of 24 or more " +
      "bytes, but N bytes are left in the file",
  );
  assertEquals(
    counts(1n, 2n ** 60n),
    "a.gguf: the metadata at byte 24 has 1152921504606846976 items of 13 or more bytes, " +
      "but N bytes are left in the file",
  );
  assertEquals(
    refusal(withPair((out) => out.u64(2 ** 50).u64(0).u64(0))),
    "a.gguf: key 0 of the metadata at byte 32 has 1125899906842624 items of 1 or more bytes, " +
      "but 16 bytes are left in the file",
  );
  assertEquals(
    refusal(withPair((out) => out.string("k").u32(9).u32(8).u64(2 ** 40))),
    'a.gguf: array "k" at byte 49 has 1099511627776 items of 8 or more bytes, but 0 bytes ' +
      "are left in the file",
  );
  assertEquals(
    refusal(withPair((out) => out.string("k").u32(8).u64(9).u64(0))),
    'a.gguf: "k" at byte 45 has 9 items of 1 or more bytes, but 8 bytes are left in the file',
  );
});

Deno.test("metadata of unknown types, nested arrays and keys given twice are refused", () => {
  const unknown = refusal(withPair((out) => out.string("k").u32(13).u64(0)));
  assertEquals(unknown, 'a.gguf: metadata "k" is of type 13, which is not known');
  const nested = refusal(withPair((out) => out.string("k").u32(9).u32(9).u64(1).u64(0)));
  assertEquals(nested, 'a.gguf: metadata "k" is an array of arrays, which is not known');
  const out = new LittleEndianWriter().u32(0x46554747).u32(3).u64(0).u64(2);
  out.string("k").u32(4).u32(1).string("k").u32(4).u32(1);
  assertEquals(refusal(out.bytes()), 'a.gguf: metadata has "k" twice');
  const bad = withPair((out) => out.string("k").u32(8).u64(2).u8(0xff).u8(0xfe));
  assertEquals(refusal(bad), 'a.gguf: "k" is not valid UTF-8');
});

Deno.test("tensors that the file has no room for, or of other types, are refused by name", () => {
  assertEquals(
    refusal(withTensor({ shape: [17] })),
    'a.gguf: tensor "t" takes bytes [0, 68) of the data, but the file has 64 bytes of it',
  );
  assertEquals(
    refusal(withTensor({ shape: [2 ** 40, 2 ** 40] })),
    'a.gguf: tensor "t" takes bytes [0, 4835703278458516698824704) of the data, but the file has ' +
      "64 bytes of it",
  );
  assertEquals(
    refusal(withTensor({ offset: 64n })),
    'a.gguf: tensor "t" takes bytes [64, 96) of the data, but the file has 64 bytes of it',
  );
  assertEquals(
    refusal(withTensor({ offset: 4n })),
    'a.gguf: tensor "t" begins at 4 of the data: must be a multiple of 32',
  );
  assertEquals(
    refusal(withTensor({ type: 16 })),
    'a.gguf: tensor "t" has type IQ2_XXS, which is not supported',
  );
  assertEquals(
    refusal(withTensor({ type: GGUF_TYPE.Q4_K, shape: [32, 8] })),
    'a.gguf: tensor "t" has shape [8, 32]: must be positive, and rows of Q4_K multiples of 256',
  );
  assertEquals(
    refusal(withTensor({ shape: [0] })),
    'a.gguf: tensor "t" has shape [0]: must be positive, and rows of F32 multiples of 1',
  );
  assertEquals(
    refusal(withTensor({ rank: 5 })),
    'a.gguf: tensor "t" has 5 dimensions: must be 1 to 4',
  );
  assertEquals(
    refusal(withTensor({ name: "" })),
    "a.gguf: a tensor's name has 0 characters: must be 1 to 255",
  );
});

Deno.test("overlapping tensors and alignments that are no powers of two are refused", () => {
  const file = ggufFile({ "general.architecture": "llama" }, {
    "first": countingTensor(16),
    "second": countingTensor(16),
  });
  const view = new DataView(file.buffer);
  // The offset of the second tensor is the last thing in the header.
  const at = file.findIndex((_, i) => view.byteLength >= i + 8 && textAt(file, i) === "second");
  view.setBigUint64(at + 6 + 4 + 8 + 4, 32n, true);
  assertEquals(refusal(file), 'a.gguf: tensors "first" and "second" overlap');
  for (const alignment of [0, 24, 2 ** 21]) {
    assertEquals(
      refusal(smallGguf({ "general.alignment": { u32: alignment } })),
      `a.gguf: general.alignment is ${alignment}: must be a power of two up to 1048576`,
    );
  }
});

function textAt(bytes: Uint8Array, at: number): string {
  return new TextDecoder().decode(bytes.subarray(at, at + 6));
}

Deno.test("a file that is cut short anywhere is refused, or has all that its header says", () => {
  const file = smallGguf();
  withModelDir({}, (dir) => {
    for (let length = 0; length < file.byteLength; length += 97) {
      Deno.writeFileSync(`${dir}/a.gguf`, file.subarray(0, length));
      assertThrows(() => openGguf(`${dir}/a.gguf`), StartupError);
    }
  });
});

Deno.test("the parts of a split file are one, whatever its metadata says is checked", () => {
  const split = (no: number, count: number, total = 2): Record<string, Metadata> => ({
    "split.no": { u32: no },
    "split.count": { u32: count },
    "split.tensors.count": { u32: total },
  });
  const first = (more = split(0, 2)) =>
    ggufFile({ ...SMALL_METADATA, ...more }, { "a": countingTensor(8) });
  const second = (more = split(1, 2), name = "b") => ggufFile(more, { [name]: countingTensor(4) });
  const open = (files: Record<string, Uint8Array>, name = "m-00001-of-00002.gguf") => {
    let outcome: unknown;
    withModelDir(files, (dir) => {
      try {
        const gguf = openGguf(`${dir}/${name}`);
        outcome = [[...gguf.tensors.keys()], gguf.digests.length, gguf.readVector("b")?.length];
        gguf.close();
      } catch (error) {
        if (!(error instanceof StartupError)) throw error;
        outcome = error.message.replaceAll(`${dir}/`, "");
      }
    });
    return outcome;
  };
  const [one, two] = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
  assertEquals(open({ [one]: first(), [two]: second() }), [["a", "b"], 2, 4]);
  assertEquals(open({ [one]: first() }), `Weights file ${two} is missing`);
  assertEquals(
    open({ [one]: first(), [two]: second() }, two),
    `${two} is part 2 of a model: name ${one}`,
  );
  assertEquals(
    open({ [one]: first(), [two]: second(split(0, 2)) }),
    `${two}: split.no is 0, but its name says 1 (counted from 0)`,
  );
  assertEquals(
    open({ [one]: first(split(0, 3)), [two]: second() }),
    `${one}: split.count is 3, but its name says 2: parts are named NAME-00001-of-00003.gguf`,
  );
  assertEquals(
    open({ "m.gguf": first() }, "m.gguf"),
    "m.gguf: split.count is 2, but its name says 1: parts are named NAME-00001-of-00002.gguf",
  );
  assertEquals(
    open({ [one]: first(split(0, 2, 3)), [two]: second() }),
    `${one}: split.tensors.count is 3, but the parts have 2`,
  );
  assertEquals(
    open({ [one]: first(), [two]: second(split(1, 2), "a") }),
    `${two} has tensor "a", which an earlier part has as well`,
  );
});
