import { StartupError } from "../core/errors.ts";

/** The bundled model, the default. */
const DEMO = { dir: new URL("../../models/demo/", import.meta.url), name: "quire-demo" };

/** The folder of a model's files, and its name unless `--served-model-name` gives another. */
export interface ModelDirectory {
  readonly dir: string;
  readonly name: string;
}

/** The model that is served where none is asked for. */
export function bundledModel(): ModelDirectory {
  return { dir: toPath(DEMO.dir), name: DEMO.name };
}

/**
 * The model in a local directory, under the directory's name.
 *
 * @throws {StartupError} when there is no such directory, or this process may not read it.
 */
export function modelInDirectory(path: string): ModelDirectory {
  if (!mayRead(path)) {
    throw new StartupError(
      `Not allowed to read --model ${JSON.stringify(path)}: start with ` +
        `"deno run -A main.ts serve", or with --allow-read=${path}`,
    );
  }
  if (!isModelDirectory(path)) {
    throw new StartupError(
      `--model ${JSON.stringify(path)} is not a directory; it must hold config.json, ` +
        `tokenizer.json and model.safetensors, or be a name such as Qwen/Qwen3-0.6B`,
    );
  }
  const dir = Deno.realPathSync(path);
  return { dir, name: dir.split(/[\\/]/).filter(Boolean).at(-1) ?? "model" };
}

/** Whether a path is a directory that this process may read. */
export function isModelDirectory(path: string): boolean {
  return statOf(path)?.isDirectory === true;
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

function mayRead(path: string): boolean {
  return Deno.permissions.querySync({ name: "read", path }).state === "granted";
}

function toPath(url: URL): string {
  const path = decodeURIComponent(url.pathname).replace(/\/$/, "");
  return Deno.build.os === "windows" ? path.replace(/^\//, "") : path;
}
