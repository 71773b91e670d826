import { assert, assertEquals } from "@std/assert";
import { PrefixCurve } from "../../../src/kvcache/prefix/prefix_curve.ts";

const tokens = (length: number, seed = 0) =>
  Uint32Array.from({ length }, (_, i) => (i * 7 + seed * 1000) % 997);

function rateAt(curve: PrefixCurve, multiple: number): number {
  return curve.estimate().find((point) => point.multiple === multiple)!.hitRate;
}

Deno.test("PrefixCurve finds a prompt again by scope and by all tokens before each block", () => {
  const curve = new PrefixCurve(4, () => 100);
  curve.lookUp("", tokens(17));
  assertEquals(rateAt(curve, 1), 0);
  curve.lookUp("", tokens(17));
  assertEquals(rateAt(curve, 1), 4 / 8);
  curve.lookUp("a", tokens(17));
  assertEquals(rateAt(curve, 1), 4 / 12);
  const changed = tokens(17);
  changed[0] = 5;
  curve.lookUp("", changed);
  assertEquals(rateAt(curve, 1), 4 / 16);
});

Deno.test("PrefixCurve never counts the block with the last prompt token, which is always computed", () => {
  const curve = new PrefixCurve(4, () => 100);
  curve.lookUp("", tokens(8));
  curve.lookUp("", tokens(8));
  assertEquals(rateAt(curve, Infinity), 1 / 2);
});

Deno.test("PrefixCurve knows what sequences have stored, outputs included", () => {
  const curve = new PrefixCurve(4, () => 100);
  curve.lookUp("", tokens(9));
  curve.store("", tokens(17));
  assertEquals(rateAt(curve, Infinity), 0);
  curve.lookUp("", tokens(17));
  assertEquals(rateAt(curve, Infinity), 4 / 6);
});

Deno.test("PrefixCurve tells what less memory would lose", () => {
  const curve = new PrefixCurve(4, () => 64);
  for (let round = 0; round < 3; round++) {
    for (let prompt = 0; prompt < 8; prompt++) {
      curve.lookUp("", tokens(33, prompt));
      curve.store("", tokens(33, prompt));
    }
  }
  assertEquals(rateAt(curve, 1), 2 / 3);
  assert(rateAt(curve, 0.5) < 0.1);
});
