import { StartupError } from "../core/errors.ts";
import { isGgufPath } from "../weights/gguf/gguf_file.ts";

/** The bundled model, the default. */
const DEMO = { dir: new URL("../../models/demo/", import.meta.url), name: "quire-demo" };

/** Where a model lies, and its name unless `--served-model-name` gives another. */
export interface ModelDirectory {
  /** The folder of its files, or its GGUF file. */
  readonly dir: string;
  readonly name: string;
}

/**
 * Finds the model of `--model`: a directory, a GGUF file, or the bundled model when absent.
 *
 * @throws {StartupError} when there is neither of that name, or this process may not read it.
 */
export function findModel(model: string | undefined): ModelDirectory {
  if (model === undefined) return { dir: toPath(DEMO.dir), name: DEMO.name };
  if (Deno.permissions.querySync({ name: "read", path: model }).state !== "granted") {
    throw new StartupError(
      `Not allowed to read --model ${
        JSON.stringify(model)
      }: start with "deno run -A main.ts serve", ` +
        `or with --allow-read=${model}`,
    );
  }
  const { isDirectory, isFile } = statOf(model) ?? {};
  if (isFile === true && isGgufPath(model)) return { dir: model, name: ggufName(model) };
  if (isDirectory !== true) {
    throw new StartupError(
      `--model ${JSON.stringify(model)} is neither a GGUF file nor a directory; that must hold ` +
        `config.json, tokenizer.json and model.safetensors`,
    );
  }
  const dir = Deno.realPathSync(model);
  return { dir, name: lastPart(dir) };
}

function toPath(url: URL): string {
  const path = decodeURIComponent(url.pathname).replace(/\/$/, "");
  return Deno.build.os === "windows" ? path.replace(/^\//, "") : path;
}

/** The file's name without its ending and, of a split file, the part's number. */
function ggufName(path: string): string {
  return lastPart(path).replace(/(-00001-of-\d{5})?\.gguf$/i, "") || "model";
}

function lastPart(path: string): string {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? "model";
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}
