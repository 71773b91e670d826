import { assertRejects, assertStringIncludes } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { DAWN_PACKAGE, dawnProvider } from "../../src/device/dawn_provider.ts";

Deno.test("dawnProvider() says how to install what is not there", async () => {
  const empty = await Deno.makeTempDir();
  const error = await assertRejects(() => dawnProvider(empty), StartupError, empty);
  assertStringIncludes(error.message, `npm install --no-save ${DAWN_PACKAGE}`);
});

Deno.test("dawnProvider() passes on why an installed package does not load", async () => {
  const directory = await fakePackage('throw new Error("no such platform");');
  await assertRejects(() => dawnProvider(directory), StartupError, "no such platform");
});

Deno.test({
  name: "dawnProvider() says which permission native code needs",
  permissions: { read: true, write: true, env: true },
  fn: async () => {
    const directory = await fakePackage('require("./dawn.node");');
    await Deno.writeTextFile(`${directory}/node_modules/webgpu/dawn.node`, "");
    const error = await assertRejects(() => dawnProvider(directory), StartupError, "--allow-ffi");
    assertStringIncludes(error.message, "deno run -A");
  },
});

/** A directory in which the package `webgpu` consists of `code`. */
async function fakePackage(code: string): Promise<string> {
  const directory = await Deno.makeTempDir();
  await Deno.mkdir(`${directory}/node_modules/webgpu`, { recursive: true });
  await Deno.writeTextFile(`${directory}/node_modules/webgpu/index.js`, code);
  return directory;
}
