import { formatByteSize } from "../base/byte_size.ts";
import { processEnvironment } from "../core/environment.ts";
import { StartupError } from "../core/errors.ts";
import type { NamedModel } from "../core/hub_config.ts";
import { hubSettings } from "../hub/hub_settings.ts";
import { parseModelReference } from "../hub/model_reference.ts";
import { removeModel } from "../hub/remove_model.ts";

/** What `quire rm` prints once the model is removed. @throws {StartupError} */
export function removeCommand({ model }: NamedModel): string {
  const reference = parseModelReference(model);
  if (reference.file !== undefined || reference.quant !== undefined) {
    throw new StartupError(
      `quire rm removes revisions, not files: give ${reference.repo}, or ${reference.repo}@REVISION`,
    );
  }
  const { commits, numBytes } = removeModel(hubSettings(processEnvironment()).cacheDir, reference);
  const revisions = commits.length === 1 ? "1 revision" : `${commits.length} revisions`;
  return `Removed ${model} (${revisions}): ${formatByteSize(numBytes)} freed`;
}
