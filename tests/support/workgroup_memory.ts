import { assert } from "@std/assert";
import type { KernelCall } from "../../src/device/kernel.ts";
import { expandWgsl } from "../../src/device/wgsl_template.ts";

const SCALARS: Readonly<Record<string, number>> = { f16: 2, f32: 4, u32: 4, i32: 4 };

/** Bytes of workgroup memory that a call's kernel declares, from its own expanded text. */
export function workgroupBytes({ source, constants }: KernelCall<never>): number {
  const text = expandWgsl(source, constants);
  const values = new Map(
    [...text.matchAll(/const (\w+): u32 = (\d+)u;/g)].map(([, name, value]) => [name!, value!]),
  );
  let bytes = 0;
  for (const [, type] of text.matchAll(/var<workgroup> \w+: ([^;]+);/g)) {
    const [, vector, scalar, length] =
      /^array<(?:vec([24])<)?(f16|f32|u32|i32)>?, ([\w *]+)>$/.exec(type!) ?? [];
    assert(scalar !== undefined, `what does ${type} take?`);
    const count = length!.split("*").map((factor) => factor.trim())
      .reduce((product, factor) => product * Number(values.get(factor) ?? factor), 1);
    assert(Number.isInteger(count), `${type} has no length`);
    bytes += count * SCALARS[scalar]! * Number(vector ?? 1);
  }
  return bytes;
}
