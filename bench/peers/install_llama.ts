/** The version whose bindings `llama_peer.ts` calls. */
export const NODE_LLAMA_CPP = "3.22.1";

/** llama.cpp as npm ships it, or why npm does not install it. */
export type Installed = { readonly dir: string } | { readonly missing: string };

/**
 * Installs llama.cpp's CPU and Vulkan builds into `dir` with npm, unless they are there already.
 *
 * No script of any package runs, and no other platform's build is fetched.
 */
export async function installLlama(dir: string): Promise<Installed> {
  const platform = `${Deno.build.os}-${Deno.build.arch}`;
  if (platform !== "linux-x86_64") return { missing: `llama.cpp is not set up for ${platform}` };
  if (await isInstalled(dir)) return { dir };
  const packages = ["node-llama-cpp", "@node-llama-cpp/linux-x64"]
    .concat("@node-llama-cpp/linux-x64-vulkan");
  await Deno.mkdir(dir, { recursive: true });
  const dependencies = Object.fromEntries(packages.map((name) => [name, NODE_LLAMA_CPP]));
  await Deno.writeTextFile(
    `${dir}/package.json`,
    JSON.stringify({ type: "module", private: true, dependencies }),
  );
  const flags = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"];
  try {
    const npm = new Deno.Command("npm", { args: ["install", ...flags], cwd: dir });
    const { success, stderr } = await npm.output();
    if (success) return { dir };
    const [reason = ""] = new TextDecoder().decode(stderr).match(/npm error .*/) ?? [];
    return { missing: `npm cannot install node-llama-cpp@${NODE_LLAMA_CPP}: ${reason}` };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { missing: "npm is not on PATH" };
  }
}

async function isInstalled(dir: string): Promise<boolean> {
  try {
    const file = `${dir}/node_modules/node-llama-cpp/package.json`;
    return JSON.parse(await Deno.readTextFile(file)).version === NODE_LLAMA_CPP;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
