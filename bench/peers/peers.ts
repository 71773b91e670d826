import { PeerProcess } from "./peer_process.ts";

/** The peer that others are compared with. */
export const BASELINE = "llama_cpu";

/** Prints what Quire would run on: "gpu", "software" or "none". */
const PROBE = `const adapter = await navigator.gpu?.requestAdapter();
console.log(!adapter ? "none" : adapter.info.isFallbackAdapter ? "software" : "gpu");`;

/** Where Linux distributions put the software adapter's driver file. */
const DRIVER_FOLDERS = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/** Starts all peers, the columns of the comparison, by name; or says why there is nothing to compare. */
export async function startPeers({ modelDir, llamaDir, numThreads, withVulkan }: {
  modelDir: string;
  llamaDir: string;
  numThreads: number;
  withVulkan: boolean;
}): Promise<Map<string, PeerProcess> | string> {
  const software = softwareEnvironment(numThreads);
  const adapter = await probe();
  if (adapter === "none") return "no WebGPU adapter for Quire";
  const quire = (env: Readonly<Record<string, string>>) =>
    PeerProcess.start("quire_peer.ts", { args: [modelDir], options: ["--config", CONFIG], env });
  const llama = (backend: string, env: Readonly<Record<string, string>>) =>
    PeerProcess.start("llama_peer.ts", {
      args: [llamaDir, `${modelDir}/model.gguf`, backend, String(numThreads)],
      // Not this project's configuration, which knows no folder of packages.
      options: ["--no-config", "--node-modules-dir=manual"],
      env,
    });
  const peers = new Map<string, PeerProcess>();
  if (software !== undefined || adapter === "software") {
    peers.set("quire", await quire(software ?? {}));
  }
  if (adapter === "gpu") peers.set("quire_gpu", await quire({}));
  peers.set(BASELINE, await llama("cpu", {}));
  if (withVulkan && software !== undefined) {
    peers.set("llama_vulkan", await llama("vulkan", { ...software, GGML_VK_VISIBLE_DEVICES: "0" }));
  }
  return peers;
}

const CONFIG = decodeURIComponent(new URL("../../deno.json", import.meta.url).pathname);

async function probe(): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", PROBE],
    env: { XDG_RUNTIME_DIR: "/tmp", NO_COLOR: "1" },
  });
  return new TextDecoder().decode((await child.output()).stdout).trim();
}

/** What makes Vulkan see llvmpipe alone, with as many threads as others have; undefined without it. */
function softwareEnvironment(numThreads: number): Record<string, string> | undefined {
  for (const folder of DRIVER_FOLDERS) {
    try {
      for (const { name } of Deno.readDirSync(folder)) {
        if (!/^lvp_icd.*\.json$/.test(name)) continue;
        const driver = `${folder}/${name}`;
        return {
          VK_DRIVER_FILES: driver,
          VK_ICD_FILENAMES: driver,
          LP_NUM_THREADS: String(numThreads),
        };
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}
