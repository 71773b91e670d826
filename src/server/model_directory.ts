import { StartupError } from "../core/errors.ts";

/** The bundled model, the default. */
const DEMO = { dir: new URL("../../models/demo/", import.meta.url), name: "quire-demo" };

/** The folder of a model's files, and its name unless `--served-model-name` gives another. */
export interface ModelDirectory {
  readonly dir: string;
  readonly name: string;
}

/**
 * Finds the model of `--model`: a directory, or the bundled model when absent.
 *
 * @throws {StartupError} when there is no such directory, or this process may not read it.
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
  if (!isDirectory(model)) {
    throw new StartupError(
      `--model ${JSON.stringify(model)} is not a directory; it must hold config.json, ` +
        `tokenizer.json and model.safetensors`,
    );
  }
  const dir = Deno.realPathSync(model);
  return { dir, name: dir.split(/[\\/]/).filter(Boolean).at(-1) ?? "model" };
}

function toPath(url: URL): string {
  const path = decodeURIComponent(url.pathname).replace(/\/$/, "");
  return Deno.build.os === "windows" ? path.replace(/^\//, "") : path;
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
