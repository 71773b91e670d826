import { assertEquals, assertNotEquals } from "@std/assert";
import { modelFingerprint } from "../../src/weights/fingerprint.ts";
import type { Quantization } from "../../src/core/weight_format.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import { safetensorsFile, withModelDir } from "./checkpoint_files.ts";

function fingerprint(
  config: string,
  data: Uint8Array,
  dtype = "BF16",
  name = "t",
  quantization?: Quantization,
): string {
  let result = "";
  const tensor = { dtype, shape: [data.byteLength / 2], bytes: data };
  withModelDir({ "model.safetensors": safetensorsFile({ [name]: tensor }) }, (dir) => {
    const weights = openSafetensors(dir);
    result = modelFingerprint(config, weights, quantization);
    weights.close();
  });
  return result;
}

const DATA = Uint8Array.from({ length: 4096 }, (_, i) => i % 253);

/** `DATA` with one byte changed. */
function changed(at: number): Uint8Array {
  const data = DATA.slice();
  data[at]! ^= 1;
  return data;
}

Deno.test("modelFingerprint() is the same for the same model", () => {
  const first = fingerprint("{}", DATA);
  assertEquals(first, fingerprint("{}", DATA));
  assertEquals(/^[0-9a-f]{64}$/.test(first), true);
});

Deno.test("modelFingerprint() differs with config, names, types and sampled values", () => {
  const others = [
    fingerprint("{ }", DATA),
    fingerprint("{}", DATA, "F16"),
    fingerprint("{}", DATA, "BF16", "u"),
    fingerprint("{}", changed(0)),
    fingerprint("{}", changed(2048)),
    fingerprint("{}", changed(4095)),
    fingerprint("{}", DATA.subarray(0, 4094)),
  ];
  assertEquals(new Set(others).size, others.length);
  for (const other of others) assertNotEquals(other, fingerprint("{}", DATA));
});

Deno.test("modelFingerprint() handles tensors smaller than a sample", () => {
  assertNotEquals(
    fingerprint("{}", Uint8Array.of(1, 2)),
    fingerprint("{}", Uint8Array.of(1, 3)),
  );
  fingerprint("{}", new Uint8Array());
});

Deno.test("modelFingerprint() differs with the quantization, since that changes the KV", () => {
  const all = [undefined, ["int8", 32], ["int8", 128], ["int4", 32]] as const;
  const fingerprints = all.map((how) =>
    fingerprint("{}", DATA, "BF16", "t", how && { method: how[0], groupSize: how[1] })
  );
  assertEquals(new Set(fingerprints).size, all.length);
  assertEquals(fingerprints[0], fingerprint("{}", DATA));
});
