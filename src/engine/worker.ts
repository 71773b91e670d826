/**
 * Entry of the engine isolate. The only file of this room that sees the runner, and so the GPU, and
 * what follows sequences through grammars.
 */
import { GrammarMatchers } from "../grammar/grammar_matchers.ts";
import { startRunner } from "../runner/start_runner.ts";
import { serveIsolate } from "./isolate.ts";

serveIsolate(startRunner, new GrammarMatchers());
