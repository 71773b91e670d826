import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import { StartupError } from "../../src/core/errors.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import { readTensor } from "../support/read_tensor.ts";
import { safetensorsFile, type TensorFixture, withModelDir } from "./checkpoint_files.ts";

const DEMO = new URL("../../models/demo", import.meta.url).pathname;

function bytesFrom(start: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (start + i) % 251);
}

const A: TensorFixture = { dtype: "F32", shape: [2, 2], bytes: bytesFrom(0, 16) };
const B: TensorFixture = { dtype: "BF16", shape: [3], bytes: bytesFrom(100, 6) };
const SHARDED = {
  "m-1.safetensors": safetensorsFile({ a: A }),
  "m-2.safetensors": safetensorsFile({ b: B, spare: A }),
  "model.safetensors.index.json": JSON.stringify({
    weight_map: { a: "m-1.safetensors", b: "m-2.safetensors" },
  }),
};

Deno.test("openSafetensors() reads a single file", () => {
  withModelDir({ "model.safetensors": safetensorsFile({ a: A, b: B }) }, (dir) => {
    const weights = openSafetensors(dir);
    assertEquals(weights.names(), ["a", "b"]);
    assertEquals(weights.tensor("b").shape, [3]);
    assertEquals(readTensor(weights, "a"), A.bytes);
    assertEquals(readTensor(weights, "b"), B.bytes);
    weights.close();
  });
});

Deno.test("openSafetensors() gives tensors that were saved without a head the names they have with one", () => {
  const files = {
    "embed_tokens.weight": A,
    "layers.0.x": B,
    "score.weight": B,
    "lm_head.weight": A,
  };
  withModelDir({ "model.safetensors": safetensorsFile(files) }, (dir) => {
    const weights = openSafetensors(dir);
    assertEquals(weights.names(), [
      ...["model.embed_tokens.weight", "model.layers.0.x", "score.weight", "lm_head.weight"],
    ]);
    assertEquals(weights.tensor("model.layers.0.x").name, "model.layers.0.x");
    assertEquals(readTensor(weights, "model.layers.0.x"), B.bytes);
    weights.close();
  });
});

Deno.test("openSafetensors() reads shards and takes from each only what the index says", () => {
  withModelDir(SHARDED, (dir) => {
    const weights = openSafetensors(dir);
    assertEquals(weights.names(), ["a", "b"]);
    assertThrows(() => weights.tensor("spare"), StartupError, 'no tensor "spare"');
    assertEquals(readTensor(weights, "b"), B.bytes);
    assertEquals(weights.headerDigests().length, 2);
    weights.close();
  });
});

Deno.test("openSafetensors() refuses an index that places a tensor in the wrong shard", () => {
  const wrong = JSON.stringify({ weight_map: { a: "m-1.safetensors", b: "m-1.safetensors" } });
  withModelDir({ ...SHARDED, "model.safetensors.index.json": wrong }, (dir) => {
    assertThrows(() => openSafetensors(dir), StartupError, 'm-1.safetensors lacks tensor "b"');
  });
});

Deno.test("openSafetensors() names the broken shard", () => {
  const cut = SHARDED["m-2.safetensors"].subarray(0, -1);
  withModelDir({ ...SHARDED, "m-2.safetensors": cut }, (dir) => {
    assertThrows(() => openSafetensors(dir), StartupError, 'm-2.safetensors: tensor "spare"');
  });
});

Deno.test("openSafetensors() refuses a directory in the file's place", () => {
  withModelDir({}, (dir) => {
    Deno.mkdirSync(`${dir}/model.safetensors`);
    assertThrows(() => openSafetensors(dir), StartupError, "model.safetensors");
  });
});

Deno.test("Checkpoint.readRange() reads any part, and refuses any other", () => {
  withModelDir({ "model.safetensors": safetensorsFile({ b: B, a: A }) }, (dir) => {
    const weights = openSafetensors(dir);
    for (let begin = 0; begin <= 16; begin++) {
      for (let end = begin; end <= 16; end++) {
        const part = new Uint8Array(end - begin);
        weights.readRange("a", begin, part);
        assertEquals(part, A.bytes.slice(begin, end));
      }
    }
    for (const [offset, count] of [[-1, 1], [16, 1], [0, 17], [0.5, 1], [NaN, 1]] as const) {
      assertThrows(() => weights.readRange("a", offset, new Uint8Array(count)), RangeError);
    }
    weights.close();
  });
});

Deno.test("Checkpoint.readRange() fills exactly the array it is given", () => {
  withModelDir({ "model.safetensors": safetensorsFile({ a: A }) }, (dir) => {
    const weights = openSafetensors(dir);
    const into = new Uint8Array(18).fill(7);
    weights.readRange("a", 0, into.subarray(1, 17));
    assertEquals(into, Uint8Array.of(7, ...A.bytes, 7));
    assertThrows(() => weights.readRange("a", 0, into), RangeError, "it has 16");
    assertThrows(() => weights.readRange("c", 0, into), StartupError, 'no tensor "c"');
    weights.close();
  });
});

Deno.test("Checkpoint.readRange() reports a file cut short after it was opened", () => {
  withModelDir({ "model.safetensors": safetensorsFile({ a: A }) }, (dir) => {
    const weights = openSafetensors(dir);
    const path = `${dir}/model.safetensors`;
    Deno.truncateSync(path, Deno.statSync(path).size - 4);
    assertThrows(() => readTensor(weights, "a"), StartupError, "it has been cut short");
    weights.close();
  });
});

Deno.test("Checkpoint.close() is idempotent and ends reading", () => {
  withModelDir({ "model.safetensors": safetensorsFile({ a: A }) }, (dir) => {
    const weights = openSafetensors(dir);
    weights.close();
    weights.close();
    assertThrows(() => readTensor(weights, "a"), InvariantError);
  });
});

Deno.test("openSafetensors() finds the bundled model's 2,755,008 parameters", () => {
  const weights = openSafetensors(DEMO);
  const tensors = weights.names().map((name) => weights.tensor(name));
  assertEquals(tensors.reduce((total, tensor) => total + tensor.numElements, 0), 2_755_008);
  assertEquals(weights.tensor("model.embed_tokens.weight").shape, [2048, 192]);
  weights.close();
});
