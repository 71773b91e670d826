import { assertEquals, assertRejects } from "@std/assert";
import { withErrorScopes } from "../../src/device/error_scopes.ts";

/** A device's stack of error scopes; an error goes to the innermost of its kind. */
class ScopeStack {
  readonly open: { kind: GPUErrorFilter; error: GPUError | null }[] = [];

  pushErrorScope(kind: GPUErrorFilter): undefined {
    this.open.push({ kind, error: null });
  }

  popErrorScope(): Promise<GPUError | null> {
    return Promise.resolve(this.open.pop()!.error);
  }

  fail(kind: GPUErrorFilter, message: string): void {
    const scope = this.open.findLast((each) => each.kind === kind)!;
    scope.error ??= { message };
  }
}

Deno.test("an error of several kinds is the first kind's, and without any there is none", async () => {
  const device = new ScopeStack();
  const kinds = ["validation", "out-of-memory"] as const;
  const failing = (failed: readonly GPUErrorFilter[]) =>
    withErrorScopes(device, kinds, () => {
      for (const kind of failed) device.fail(kind, kind);
      return failed.length;
    });
  assertEquals(await failing([]), { made: 0, error: undefined });
  assertEquals(await failing(["out-of-memory"]), { made: 1, error: { message: "out-of-memory" } });
  const both = await failing(["out-of-memory", "validation"]);
  assertEquals(both, { made: 2, error: { message: "validation" } });
});

Deno.test("calls that overlap have their own errors", async () => {
  const device = new ScopeStack();
  const make = (message: string | undefined) =>
    withErrorScopes(device, ["validation", "out-of-memory"], () => {
      if (message !== undefined) device.fail("validation", message);
    });
  const made = await Promise.all([make(undefined), make("the second")]);
  assertEquals(made.map(({ error }) => error?.message), [undefined, "the second"]);
});

Deno.test("what throws leaves no scope open", async () => {
  const device = new ScopeStack();
  await assertRejects(
    () =>
      withErrorScopes(device, ["validation", "internal"], () => {
        throw new TypeError("not on this device");
      }),
    TypeError,
    "not on this device",
  );
  assertEquals(device.open, []);
});
