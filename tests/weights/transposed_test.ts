import { assertEquals, assertThrows } from "@std/assert";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import { transposed } from "../../src/weights/transposed.ts";
import { readTensor } from "../support/read_tensor.ts";
import { safetensorsFile, withModelDir } from "./checkpoint_files.ts";

Deno.test("transposed() exchanges the last two dimensions, whatever is read of them", () => {
  const [matrices, rows, columns] = [2, 3, 4];
  const f16 = Uint16Array.from({ length: matrices * rows * columns }, (_, i) => i);
  const f32 = Float32Array.from(f16);
  const file = safetensorsFile({
    h: { dtype: "F16", shape: [matrices, rows, columns], bytes: new Uint8Array(f16.buffer) },
    s: { dtype: "F32", shape: [matrices * rows, columns], bytes: new Uint8Array(f32.buffer) },
  });
  withModelDir({ "model.safetensors": file }, (dir) => {
    const weights = transposed(openSafetensors(dir));
    assertEquals(weights.tensor("h").shape, [2, 4, 3]);
    assertEquals(weights.tensor("s").shape, [4, 6]);
    const whole = readTensor(weights, "h");
    assertEquals([...new Uint16Array(whole.buffer)], [
      ...[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
      ...[12, 16, 20, 13, 17, 21, 14, 18, 22, 15, 19, 23],
    ]);
    for (const [begin, end] of [[0, 24], [22, 26], [4, 46], [24, 48], [46, 48]] as const) {
      const part = new Uint8Array(end - begin);
      weights.readRange("h", begin, part);
      assertEquals(part, whole.slice(begin, end));
    }
    assertEquals([...new Float32Array(readTensor(weights, "s").buffer)].slice(0, 7), [
      ...[0, 4, 8, 12, 16, 20, 1],
    ]);
    assertThrows(() => weights.readRange("h", 40, new Uint8Array(16)), RangeError, "it has 48");
    weights.close();
  });
});
