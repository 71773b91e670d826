/**
 * Compiles grammars, away from the isolates that answer requests and compute: it takes up to
 * seconds, and the library gives up by ending its WebAssembly instance.
 */
import { StartupError } from "../core/errors.ts";
import type { ModelFiles } from "../core/model_json.ts";
import { loadTokenizer } from "../tokenizer/tokenizer.ts";
import type { FromWorker, ToWorker, WorkerScope } from "../tokenizer/worker_messages.ts";
import { GrammarCompiler, type GrammarOutcome, type GrammarTask } from "./grammar_compiler.ts";
import { grammarVocabulary } from "./grammar_vocabulary.ts";

/** The model whose vocabulary grammars are compiled for. */
export interface GrammarLoad {
  readonly files: ModelFiles;
}

const scope = self as unknown as WorkerScope<GrammarLoad, GrammarTask, GrammarOutcome>;

let compiler: GrammarCompiler | undefined;

function answer(message: ToWorker<GrammarLoad, GrammarTask>): FromWorker<GrammarOutcome> {
  if (message.type === "load") {
    try {
      compiler = new GrammarCompiler(grammarVocabulary(loadTokenizer(message.load.files)));
      return { type: "loaded" };
    } catch (error) {
      if (!(error instanceof StartupError)) throw error;
      return { type: "refused", message: error.message };
    }
  }
  // The host sends "load" first and waits for its answer.
  return { type: "done", outcome: compiler!.compile(message.request) };
}

scope.onmessage = ({ data }) => scope.postMessage(answer(data));
