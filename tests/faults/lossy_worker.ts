/**
 * The engine isolate with the real runner, whose GPU device is destroyed before one of its steps:
 * which one, the search of its address says, as in `lossy_worker.ts?step=7`.
 */
import { serveIsolate } from "../../src/engine/isolate.ts";
import { GrammarMatchers } from "../../src/grammar/grammar_matchers.ts";
import { startRunner } from "../../src/runner/start_runner.ts";

const lossStep = Number(new URL(import.meta.url).searchParams.get("step"));

serveIsolate(async (config, progress) => {
  const started = await startRunner(config, progress);
  const { runner } = started;
  const run = runner.run.bind(runner);
  let numSteps = 0;
  runner.run = (batch, onSubmitted) => {
    if (++numSteps === lossStep) runner.destroy();
    return run(batch, onSubmitted);
  };
  return started;
}, new GrammarMatchers());
