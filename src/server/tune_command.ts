import { createLogger } from "../base/log.ts";
import { toEngineConfig } from "../core/config.ts";
import type { TuneConfig } from "../core/tune_config.ts";
import { measureTuning } from "../runner/measure_tuning.ts";
import { findLocalModel } from "./find_model.ts";
import { TUNING_STORE } from "../state/store_kinds.ts";
import { checkStorePlace } from "../state/store_place.ts";
import { storePath } from "./store_path.ts";
import { tuneJson, tuneText } from "./tune_text.ts";

/**
 * What `quire tune` prints, once everything is timed.
 *
 * @param progress is told each phase as it begins, and how far it is.
 * @throws {StartupError} for a model that cannot be loaded, where there is no adapter, and for a
 * file that is no tuning store.
 */
export async function tuneCommand(
  config: TuneConfig,
  progress: (words: string) => void,
): Promise<string> {
  const { dir, name } = findLocalModel(config.model);
  const path = storePath(config.tuningStore, TUNING_STORE);
  // Before anything is timed, which takes minutes.
  if (path !== undefined) checkStorePlace({ path, kind: TUNING_STORE });
  const log = createLogger({ format: config.logFormat, level: config.logLevel });
  const measured = await measureTuning({
    ...toEngineConfig(config, dir),
    ...(path === undefined ? {} : { tuningStore: path }),
  }, { context: config.context, log, progress });
  if (config.json) return JSON.stringify(tuneJson(measured));
  return tuneText(measured, { modelName: name, blockSize: config.blockSize, storePath: path });
}
