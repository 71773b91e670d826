import { DeviceLostError, StartupError } from "../../src/core/errors.ts";
import { serveIsolate } from "../../src/engine/isolate.ts";
import { FAKE_INFO } from "./fake_worker.ts";
import { PagedFakeRunner } from "./paged_fake_runner.ts";

/** The prompt token that makes the fake device go away; the fake model never draws it. */
const FATAL_TOKEN = 99;

serveIsolate((config, progress) => {
  progress(`loading ${config.modelDir}`);
  if (config.modelDir === "nowhere") throw new StartupError("There is no model at nowhere");
  const paged = new PagedFakeRunner(FAKE_INFO);
  return Promise.resolve({
    info: FAKE_INFO,
    modelFingerprint: "fake",
    runner: {
      run(batch) {
        if (batch.chunks.some(({ tokens }) => tokens.includes(FATAL_TOKEN))) {
          throw new DeviceLostError("The fake device is gone");
        }
        return paged.run(batch);
      },
    },
  });
});
