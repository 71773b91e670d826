import { assert } from "@std/assert";
import { gemmSubgroupMatrix } from "../../kernels/matmul/gemm_subgroup_matrix.ts";
import type { KernelCall } from "../../src/device/kernel.ts";

/**
 * What stands in the text for what a device with matrix units has, in plain WGSL. SUBGROUP lanes
 * beside each other are a subgroup and share out a matrix of sums, as a device does. A factor is
 * where it lies in shared memory, which does not change until it was multiplied. So all but the
 * instructions themselves runs as it is written.
 */
const REPLACED: readonly (readonly [RegExp, string])[] = [
  [/@builtin\(subgroup_id\) subgroup: u32/, "@builtin(local_invocation_index) emulated: u32"],
  [/let index = id.x;/, "let index = id.x;\n  let subgroup = own_subgroup(emulated);"],
  [/alias Left = .*;/, "struct Left { at: u32, pitch: u32 }"],
  [/alias Right = .*;/, "struct Right { at: u32, pitch: u32 }"],
  [/alias Sums = .*;/, "alias Sums = array<f32, ${UNIT_M * UNIT_N / SUBGROUP}>;"],
  [/subgroupMatrixLoad<Left, row_major>\(\s*&x_tile, /g, "Left("],
  [/subgroupMatrixLoad<Right, col_major>\(\s*&w_tile, /g, "Right("],
  [/subgroupMatrixMultiplyAccumulate\(/g, "multiply_accumulate("],
  [/subgroupMatrixStore<row_major>\(\s*&sums, /g, "store_sums("],
];

const EMULATION = `
var<private> own_lane: u32;
fn own_subgroup(index: u32) -> u32 {
  own_lane = index % \${SUBGROUP}u;
  return index / \${SUBGROUP}u;
}
fn multiply_accumulate(left: Left, right: Right, before: Sums) -> Sums {
  var after = before;
  // The bound of the loop is none that lavapipe knows: it would write it out.
  let inputs = min(\${UNIT_K}u, arrayLength(&y));
  for (var k = 0u; k < inputs; k++) {
    //# for e in 0..UNIT_M * UNIT_N / SUBGROUP
    after[\${e}] = fma(
      f32(x_tile[left.at + (own_lane + \${e * SUBGROUP}u) / \${UNIT_N}u * left.pitch + k]),
      f32(w_tile[right.at + (own_lane + \${e * SUBGROUP}u) % \${UNIT_N}u * right.pitch + k]),
      after[\${e}]);
    //# end
  }
  return after;
}
fn store_sums(at: u32, elements: Sums, pitch: u32) {
  //# for e in 0..UNIT_M * UNIT_N / SUBGROUP
  sums[at + (own_lane + \${e * SUBGROUP}u) / \${UNIT_N}u * pitch + (own_lane + \${e * SUBGROUP}u) % \${UNIT_N}u] =
    elements[\${e}];
  //# end
}
`;

const source = REPLACED.reduce((text, [pattern, replacement]) => {
  assert(text.search(pattern) >= 0, `${pattern} is not in gemm_subgroup_matrix.wgsl`);
  return text.replace(pattern, () => replacement);
}, gemmSubgroupMatrix.source) + EMULATION;
assert(!/subgroup_|subgroupMatrix/.test(source.replaceAll(gemmSubgroupMatrix.name, "")));

/**
 * Calls that run on any device with f16 in place of those that need matrix units; others as they
 * are. Subgroups have `subgroupSize` lanes; where that is fewer than the tile's unit says, some are
 * surplus.
 */
export function emulateMatrices<Dims>(
  calls: readonly KernelCall<Dims>[],
  subgroupSize: number,
): KernelCall<Dims>[] {
  return calls.map((call) => {
    if (call.kernelName !== gemmSubgroupMatrix.name) return call;
    return { ...call, source, constants: { ...call.constants, SUBGROUP: subgroupSize } };
  });
}
