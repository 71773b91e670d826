// deno-lint-ignore-file no-console -- what the terminal shows of a stopped pull is written here
import { processEnvironment } from "../core/environment.ts";
import type { NamedModel } from "../core/hub_config.ts";
import { hubSettings } from "../hub/hub_settings.ts";
import { parseModelReference } from "../hub/model_reference.ts";
import { EXIT_CODES } from "./process_end.ts";
import { pullShown } from "./pull_display.ts";
import { whyTextNotRunnable } from "./why_not_runnable.ts";

/**
 * `quire pull`: brings a model into the cache, and says where it lies. A model that this build
 * cannot run is fetched as well, with a note why.
 *
 * @throws {HubError}
 */
export async function pullCommand({ model }: NamedModel): Promise<string> {
  const reference = parseModelReference(model);
  Deno.addSignalListener("SIGINT", () => {
    console.error(`\nStopped: quire pull ${model} continues where it was`);
    Deno.exit(EXIT_CODES.interrupted);
  });
  const { dir } = await pullShown(hubSettings(processEnvironment()), reference, {
    beforeWeights({ config }, note) {
      const why = whyTextNotRunnable(config);
      if (why !== undefined) note(`Note: this build cannot run ${model}: ${why}`);
      return Promise.resolve();
    },
  });
  return dir;
}
