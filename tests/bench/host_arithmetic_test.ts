import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { hostCosts, hostShares } from "../../bench/host_arithmetic.ts";
import { NullDevice } from "../../bench/null_device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";

Deno.test("hostCosts() is the line through two steps, for each kind of work", () => {
  const { between, overlapped } = hostCosts(
    { numCalls: 20, times: { hostMs: 0.12, aheadMs: 0.05 } },
    { numCalls: 300, times: { hostMs: 0.4, aheadMs: 0.61 } },
  );
  assertAlmostEquals(between.perCall, 0.001);
  assertAlmostEquals(between.perStep, 0.1);
  assertAlmostEquals(overlapped.perCall, 0.002);
  assertAlmostEquals(overlapped.perStep, 0.01);
});

Deno.test("hostShares() counts the calls and bytes of models that would not fit here", async () => {
  const { capabilities } = new ReferenceDevice();
  const device = new NullDevice({ ...capabilities, tier: "subgroups" });
  const between = { perStep: 0.1, perCall: 0.001 };
  const overlapped = { perStep: 0, perCall: 0.002 };
  const shares = await hostShares(device, { between, overlapped }, 1000);
  const large = shares.at(-1)!;
  assertEquals(large.shape, "llama-3.1-8b");
  // Its matrices but the embedding's, 7.5 G numbers of two bytes, at 1 TB/s.
  assert(large.deviceMs > 14.9 && large.deviceMs < 15.2, `${large.deviceMs} ms`);
  for (const { numCalls, deviceMs, hostMs, share } of shares) {
    const left = Math.max(0, 0.002 * numCalls - deviceMs);
    assertAlmostEquals(hostMs, 0.1 + 0.001 * numCalls + left);
    assertAlmostEquals(share, hostMs / (hostMs + deviceMs));
  }
  assertEquals(shares.map(({ numCalls, deviceMs }) => 0.002 * numCalls > deviceMs), [
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
  // Seven per layer, with norms behind its blocks nine, and a handful around them.
  const inLayers = [7 * 30, 9 * 18, 7 * 28, 7 * 16, 7 * 32];
  const extra = new Set(shares.slice(1).map(({ numCalls }, i) => numCalls - inLayers[i]!));
  assertEquals(extra.size, 1);
  assert([...extra][0]! < 8);
});
