import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { loadGenerationConfig } from "../../models/generation_config.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { buildRunner } from "../../src/runner/build_runner.ts";
import { loadModel } from "../../src/runner/load_model.ts";
import { StartupPhases } from "../../src/runner/startup_phases.ts";
import { ChatTemplate } from "../../src/tokenizer/chat_template.ts";
import { loadTokenizer } from "../../src/tokenizer/tokenizer.ts";
import { mutate, mutatedJson, mutationsAt } from "../support/mutations.ts";
import { runs, times } from "../support/runs.ts";
import { smallCheckpoint } from "../support/small_checkpoint.ts";
import { logLines } from "../support/log_lines.ts";

const CONFIG: Omit<EngineConfig, "modelDir"> = {
  device: "cpu",
  blockSize: 16,
  numBlocksOverride: 4,
  kvCacheDtype: "f32",
  enablePrefixCaching: true,
  maxNumSeqs: 2,
  maxNumBatchedTokens: 8,
  maxNumQueuedSeqs: 10,
};

/** Memory of this isolate that a load of such a model may add to, garbage included. */
const MAX_GROWTH_BYTES = 2 ** 29;

const TEXT = "ab Once upon a time, \u{1f98a} caf\u00e9\n\n\t<s> 12345 <|im_end|>";

/** Loads the tokenizer of a folder and its chat template, and encodes and decodes a text. */
async function useTokenizer(dir: string): Promise<void> {
  loadGenerationConfig(dir);
  const tokenizer = loadTokenizer(dir);
  const ids = [...tokenizer.encode(TEXT)];
  assert(ids.every((id) => id < tokenizer.vocabSize), `ids ${ids.join()}`);
  assertEquals(typeof tokenizer.decode(ids), "string");
  // A template starts a Worker: the same one is checked once.
  if (checkedTemplates.has(templateIn(dir))) return;
  (await ChatTemplate.load(dir, tokenizer)).close();
  checkedTemplates.add(templateIn(dir));
}

const checkedTemplates = new Set<string>();

/** What a folder's tokenizer_config.json says of the template. */
function templateIn(dir: string): string {
  const json: unknown = JSON.parse(Deno.readTextFileSync(`${dir}/tokenizer_config.json`));
  return JSON.stringify((json as { chat_template?: unknown } | null)?.chat_template) ?? "";
}

/**
 * Loads a folder's model and runs its first step: the draw has a token with a finite
 * log-probability, or has failed and says so.
 */
async function useModel(dir: string): Promise<void> {
  const { log } = logLines();
  const phases = new StartupPhases(() => {});
  const { inputs, memory } = await loadModel({ ...CONFIG, modelDir: dir }, phases, log);
  const runner = await buildRunner(inputs, { memory });
  const draw = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 };
  const tokens = Uint32Array.of(0, 1);
  const chunk = { sequenceId: 0, tokens, start: 0, blockTables: [[0]] };
  const chunks = [{ ...chunk, draw: { ...draw, numLogprobs: 1 } }];
  const [result] = await runner.run({ step: 0, copies: [], numTokens: tokens.length, chunks });
  for (const output of result!.outputs) {
    if (output.type === "failed") continue;
    assert(output.type === "token" && output.token < inputs.model.vocabSize);
    assert(Number.isFinite(output.logprob), `a log-probability of ${output.logprob}`);
  }
}

/** A file of a model to be changed, what is done with the model, and how often it must end how. */
interface Case {
  readonly file: string;
  readonly files: Readonly<Record<string, Uint8Array | string>>;
  readonly change: (original: Uint8Array<ArrayBuffer>) => fc.Arbitrary<Uint8Array<ArrayBuffer>>;
  readonly use: (dir: string) => Promise<void>;
  /** Of 2,000 runs. */
  readonly least: { readonly taken: number; readonly refused: number };
}

const asJson: Case["change"] = (original) => mutatedJson(new TextDecoder().decode(original));
const [WHOLE, SHARDED] = [smallCheckpoint(), smallCheckpoint({ isSharded: true })];

/** Three quarters of the changes are in the header. */
const asSafetensors: Case["change"] = (original) => {
  const headerSize = 8 + new DataView(original.buffer).getUint32(0, true);
  const at = fc.oneof(
    { weight: 3, arbitrary: fc.nat(headerSize) },
    { weight: 1, arbitrary: fc.nat(original.byteLength - 9) },
  );
  return mutationsAt(at).map((list) => mutate(original, list));
};

const CASES: readonly Case[] = [
  {
    ...{ file: "model.safetensors", files: WHOLE, change: asSafetensors, use: useModel },
    least: { taken: 100, refused: 1000 },
  },
  {
    ...{ file: "model.safetensors.index.json", files: SHARDED, change: asJson, use: useModel },
    least: { taken: 100, refused: 500 },
  },
  {
    ...{ file: "config.json", files: WHOLE, change: asJson, use: useModel },
    least: { taken: 100, refused: 500 },
  },
  {
    ...{ file: "tokenizer.json", files: WHOLE, change: asJson, use: useTokenizer },
    least: { taken: 100, refused: 500 },
  },
  {
    ...{ file: "tokenizer_config.json", files: WHOLE, change: asJson, use: useTokenizer },
    least: { taken: 100, refused: 100 },
  },
];

for (const { file, files, change, use, least } of CASES) {
  Deno.test(`a model loads with random changes to its ${file}, or is refused by name`, async () => {
    const dir = await Deno.makeTempDir();
    const before = usedBytes();
    let [numTaken, numRefused, grown] = [0, 0, 0];
    try {
      for (const [name, content] of Object.entries(files)) {
        await Deno.writeFile(`${dir}/${name}`, bytesOf(content));
      }
      await use(dir);
      const property = fc.asyncProperty(change(bytesOf(files[file]!)), async (changed) => {
        await Deno.writeFile(`${dir}/${file}`, changed);
        if (await isTaken(() => use(dir), dir)) numTaken++;
        else numRefused++;
        grown = Math.max(grown, usedBytes() - before);
      });
      await fc.assert(property, { numRuns: runs(2000), seed: 12 });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
    const counts = `${numTaken} taken, ${numRefused} refused`;
    assert(numTaken > times(least.taken) && numRefused > times(least.refused), counts);
    assert(grown < MAX_GROWTH_BYTES, `the isolate grew by ${grown} bytes`);
  });
}

/** Whether it ends well; otherwise it ends with a sentence that names a file of the folder. */
async function isTaken(use: () => Promise<void>, dir: string): Promise<boolean> {
  try {
    await use();
    return true;
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    assert(error.message.includes(dir), error.message);
    return false;
  }
}

function bytesOf(content: Uint8Array | string): Uint8Array<ArrayBuffer> {
  return typeof content === "string" ? new TextEncoder().encode(content) : content.slice();
}

/** Bytes that this isolate holds; other files' tests may run in the same process. */
function usedBytes(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}
