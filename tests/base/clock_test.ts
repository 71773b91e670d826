import { assert } from "@std/assert";
import { systemClock } from "../../src/base/clock.ts";

Deno.test("systemClock.after() calls back unless it is cancelled", async () => {
  const calls: string[] = [];
  const cancel = systemClock.after(0, () => calls.push("cancelled"));
  cancel();
  await new Promise<void>((resolve) => systemClock.after(0, resolve));
  assert(!calls.includes("cancelled"));
});
