import { assertEquals } from "@std/assert";
import { gpuTest } from "../support/agreement.ts";

const PROVIDER = new URL("../../src/device/gpu_provider.ts", import.meta.url).href;
const VARIABLE = "DENO_WEBGPU_BACKEND";

/**
 * Asks for an adapter in a process of its own, whose variable is `backends`: whether there was one, and
 * whether OpenGL was loaded for that.
 */
async function ask(backends: string | undefined) {
  const { [VARIABLE]: _inherited, ...rest } = Deno.env.toObject();
  const code = `
    import { denoProvider } from ${JSON.stringify(PROVIDER)};
    const adapter = await denoProvider().gpu.requestAdapter();
    const hasOpenGl = Deno.readTextFileSync("/proc/self/maps").includes("libEGL");
    console.log(JSON.stringify({ hasAdapter: adapter !== null, hasOpenGl }));`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, code);
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", file],
    clearEnv: true,
    env: { ...rest, ...(backends === undefined ? {} : { [VARIABLE]: backends }) },
  }).output();
  await Deno.remove(file);
  return JSON.parse(new TextDecoder().decode(stdout));
}

// Says something where libEGL is installed; elsewhere there is nothing that could be loaded.
if (Deno.build.os === "linux") {
  gpuTest("denoProvider() loads no OpenGL, and asks what the user names instead", async () => {
    assertEquals(await ask(undefined), { hasAdapter: true, hasOpenGl: false });
    assertEquals(await ask("noop"), { hasAdapter: false, hasOpenGl: false });
  });
}
