import { createHash } from "node:crypto";
import { gitBlobId, sha256 } from "./fake_hub.ts";

/**
 * Writes a model into a cache as the Python client (huggingface_hub 0.30) leaves it: blobs, links,
 * a branch's note, locks, and a note of a file that the hub does not have. Returns the snapshot.
 */
export function writePythonCache(
  cacheDir: string,
  repo: string,
  files: Readonly<Record<string, Uint8Array | string>>,
  { commit = createHash("sha1").update(repo).digest("hex"), ref = "main" } = {},
): string {
  const name = `models--${repo.replaceAll("/", "--")}`;
  const folder = `${cacheDir}/${name}`;
  const snapshot = `${folder}/snapshots/${commit}`;
  const noExist = `${folder}/.no_exist/${commit}`;
  const locks = `${cacheDir}/.locks/${name}`;
  for (const dir of [`${folder}/blobs`, snapshot, `${folder}/refs`, noExist, locks]) {
    Deno.mkdirSync(dir, { recursive: true });
  }
  for (const [path, content] of Object.entries(files)) {
    const data = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const etag = /\.(safetensors|gguf)$/.test(path) ? sha256(data) : gitBlobId(data);
    Deno.writeFileSync(`${folder}/blobs/${etag}`, data);
    Deno.writeTextFileSync(`${locks}/${etag}.lock`, "");
    const up = "../".repeat(path.split("/").length + 1);
    const target = `${snapshot}/${path}`;
    Deno.mkdirSync(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    Deno.symlinkSync(`${up}blobs/${etag}`, target);
  }
  Deno.writeTextFileSync(`${folder}/refs/${ref}`, commit);
  Deno.writeTextFileSync(`${noExist}/adapter_config.json`, "");
  return snapshot;
}
