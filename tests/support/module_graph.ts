import { assert } from "@std/assert";
import { MODEL_FILES, WORKERS } from "../../src/packaging/compile.ts";

const ROOT = new URL("../../", import.meta.url);

/** Every local module reachable from `entry`, as paths below the root. */
export async function moduleGraph(entry: string): Promise<string[]> {
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", entry],
    cwd: ROOT,
  }).output();
  assert(success);
  const { modules } = JSON.parse(new TextDecoder().decode(stdout));
  return (modules as { specifier: string; error?: string }[])
    .map(({ specifier, error }) => {
      assert(error === undefined, `${specifier}: ${error}`);
      return specifier;
    })
    .filter((specifier) => specifier.startsWith(ROOT.href))
    .map((specifier) => specifier.slice(ROOT.href.length));
}

/** Every file of the project that the compiled binary holds, as paths below the root. */
export async function embeddedFiles(): Promise<Set<string>> {
  const graphs = await Promise.all(["main.ts", ...WORKERS].map(moduleGraph));
  return new Set([...graphs.flat(), ...MODEL_FILES]);
}
