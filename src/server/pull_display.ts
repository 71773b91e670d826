// deno-lint-ignore-file no-console -- what the terminal shows of a download is written here
import { formatByteSize } from "../base/byte_size.ts";
import { DownloadProgress } from "../hub/download_progress.ts";
import { HubClient } from "../hub/hub_client.ts";
import type { HubSettings } from "../hub/hub_settings.ts";
import { formatModelReference, type ModelReference } from "../hub/model_reference.ts";
import { ProgressDisplay, standardError } from "../hub/progress_display.ts";
import { type BeforeWeights, type PulledModel, pullModel } from "../hub/pull_model.ts";

/** What a pull at the terminal does beside showing its progress. */
export interface ShownPullOptions {
  /** Throws where the weights are not wanted. */
  readonly beforeWeights?: (seen: BeforeWeights, note: (line: string) => void) => Promise<void>;
}

/** Pulls a model with its progress on standard error. @throws {HubError} */
export async function pullShown(
  settings: HubSettings,
  reference: ModelReference,
  { beforeWeights = () => Promise.resolve() }: ShownPullOptions = {},
): Promise<PulledModel> {
  const progress = new DownloadProgress();
  const display = new ProgressDisplay(progress, standardError(settings.hasBars));
  const note = (line: string) => display.note(line);
  try {
    const client = new HubClient(settings, {
      onLongPause(ms, error) {
        note(`Waiting ${Math.ceil(ms / 1000)} s before the next try (${(error as Error).message})`);
      },
    });
    const pulled = await pullModel(client, reference, {
      progress,
      note,
      beforeWeights: async (seen) => {
        await beforeWeights(seen, note);
        display.start();
      },
    });
    display.stop();
    const { numFetched, dir } = pulled;
    const fetched = numFetched === 0 ? "was whole" : `${formatByteSize(numFetched)} fetched`;
    console.error(`${formatModelReference(reference)}: ${fetched}, in ${dir}`);
    return pulled;
  } finally {
    display.stop();
  }
}
