import { parseModel } from "../../models/registry.ts";
import { StartupError } from "../core/errors.ts";

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

/** The same for the text of a config.json, or for none. */
export function whyTextNotRunnable(text: string | undefined): string | undefined {
  if (text === undefined) return "GGUF files are not read yet, only safetensors";
  try {
    return whyNotRunnable(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) return `config.json is not JSON: ${error.message}`;
    throw error;
  }
}
