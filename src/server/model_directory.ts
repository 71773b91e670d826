import type { OtherFile } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import { isGgufPath } from "../weights/gguf/gguf_file.ts";
import { mayRead } from "./may_read.ts";

/** The bundled model, the default. */
const DEMO = { dir: new URL("../../models/demo/", import.meta.url), name: "quire-demo" };

/** Where a model lies, and its name unless `--served-model-name` gives another. */
export interface ModelDirectory {
  /** The folder of its files, or its GGUF file. */
  readonly dir: string;
  readonly name: string;
  /** Other weights of the same repository, as far as the cache knows of them. */
  readonly otherFiles?: readonly OtherFile[];
}

/** The model that is served where none is asked for. */
export function bundledModel(): ModelDirectory {
  return { dir: toPath(DEMO.dir), name: DEMO.name };
}

/**
 * The model in a local directory, or in a GGUF file, under its name.
 *
 * @throws {StartupError} when there is neither of that name, or this process may not read it.
 */
export function modelInDirectory(path: string): ModelDirectory {
  if (!mayRead(path)) {
    throw new StartupError(
      `Not allowed to read --model ${JSON.stringify(path)}: start with ` +
        `"deno run -A main.ts serve", or with --allow-read=${path}`,
    );
  }
  const { isDirectory } = statOf(path) ?? {};
  if (isDirectory === true) {
    const dir = Deno.realPathSync(path);
    return { dir, name: lastPart(dir) };
  }
  // Its path as it is: the parts of a split file lie beside the link, and not beside its target.
  if (isModelPath(path)) return { dir: path, name: ggufName(path) };
  throw new StartupError(
    `--model ${JSON.stringify(path)} is not a directory or GGUF file; a directory must hold ` +
      `config.json, tokenizer.json and model.safetensors, and a name is one such as Qwen/Qwen3-0.6B`,
  );
}

/** Whether a path is a directory or a GGUF file that this process may read. */
export function isModelPath(path: string): boolean {
  const { isDirectory, isFile } = statOf(path) ?? {};
  return isDirectory === true || (isFile === true && isGgufPath(path));
}

/** The file's name without its ending and, of a split file, the part's number. */
function ggufName(path: string): string {
  return lastPart(path).replace(/(-00001-of-\d{5})?\.gguf$/i, "") || "model";
}

function lastPart(path: string): string {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? "model";
}

/** Whether a text is written as a path, and this process may not see what lies there. */
export function isHiddenPath(text: string): boolean {
  return (/[\\/]/.test(text) || isGgufPath(text)) && !mayRead(text);
}

/** Whether something lies at a path that this process may read. */
export function isExistingPath(path: string): boolean {
  return statOf(path) !== undefined;
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return mayRead(path) ? Deno.statSync(path) : undefined;
  } catch {
    return undefined;
  }
}

function toPath(url: URL): string {
  const path = decodeURIComponent(url.pathname).replace(/\/$/, "");
  return Deno.build.os === "windows" ? path.replace(/^\//, "") : path;
}
