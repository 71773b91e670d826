import { parseModel } from "../../models/registry.ts";
import { StartupError } from "../core/errors.ts";
import { readModelJson } from "../core/model_json.ts";
import { CONFIG_FILE } from "../hub/select_files.ts";
import { findModelSource } from "../weights/model_source.ts";

/** Why this build cannot run what a parsed config.json describes; undefined where it can. */
export function whyNotRunnable(config: unknown): string | undefined {
  try {
    parseModel(config);
    return undefined;
  } catch (error) {
    if (error instanceof StartupError) return error.message;
    throw error;
  }
}

/** The same for the model in a GGUF file. */
export function whyGgufNotRunnable(path: string): string | undefined {
  try {
    const { openCheckpoint, configFiles } = findModelSource(path);
    openCheckpoint().close();
    return whyNotRunnable(readModelJson(configFiles(), CONFIG_FILE));
  } catch (error) {
    if (error instanceof StartupError) return error.message;
    throw error;
  }
}

/** The same for the text of a config.json; none, as GGUF files have none, is not judged. */
export function whyTextNotRunnable(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    return whyNotRunnable(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) return `config.json is not JSON: ${error.message}`;
    throw error;
  }
}
