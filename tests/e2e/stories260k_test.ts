import { assert, assertEquals } from "@std/assert";
import { findModelSource } from "../../src/weights/model_source.ts";
import { llama2cVocabulary, toGguf } from "../support/gguf_checkpoint.ts";
import { convertLlama2c } from "../support/llama2c_checkpoint.ts";
import { ServerProcess } from "../support/server_process.ts";

/** A trained model that nobody here made; its licence keeps it out of the project. */
const FOLDER = new URL("../../../shared/data/weights/stories260K/", import.meta.url);
/** Largest difference of f32 arithmetic to log-probabilities of float64. */
const TOLERANCE = 1e-4;

interface Case {
  readonly prompt: string;
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly steps: readonly { readonly top5: readonly (readonly [id: number, logprob: number])[] }[];
}

const isPresent = await Deno.stat(FOLDER).then(() => true, () => false);
// deno-lint-ignore no-console -- a skip must say why
if (!isPresent) console.warn("skipped: ../shared/data/weights/stories260K is absent");

/** Writes the model as a folder in Hugging Face's layout, and as a GGUF file in it. */
async function writeModel(dir: string): Promise<void> {
  await convertLlama2c(new URL("stories260K.bin", FOLDER).pathname, dir);
  const vocabulary = llama2cVocabulary(new URL("tok512.bin", FOLDER).pathname, 512);
  await Deno.writeFile(`${dir}/stories.gguf`, toGguf(dir, "F32", vocabulary));
  const files = findModelSource(`${dir}/stories.gguf`).textFiles();
  assert(typeof files !== "string");
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.writeTextFile(`${dir}/${name}`, files.texts[name]!);
  }
}

/** Asks for the golden continuations, and compares ids and log-probabilities. */
async function checkServer(args: readonly string[], golden: readonly Case[]): Promise<void> {
  const server = await ServerProcess.start([...args, "--kv-cache-dtype", "f32"]);
  try {
    for (const { prompt, prompt_ids, greedy_ids, steps } of golden) {
      const response = await server.post("/v1/completions", {
        ...{ prompt, max_tokens: greedy_ids.length, temperature: 0, ignore_eos: true },
        ...{ logprobs: 1, return_token_ids: true },
      });
      const { choices: [choice], usage } = await response.json();
      assertEquals(usage.prompt_tokens, prompt_ids.length, prompt);
      assertEquals(choice.token_ids, greedy_ids, prompt);
      const logprobs: readonly number[] = choice.logprobs.token_logprobs;
      assertEquals(logprobs.length, steps.length);
      for (const [i, { top5: [best] }] of steps.entries()) {
        const off = Math.abs(logprobs[i]! - best![1]);
        assert(off < TOLERANCE, `${prompt}: ${logprobs[i]} and ${best![1]} at ${i}`);
      }
    }
  } finally {
    await server.stop();
  }
}

Deno.test({
  name: "a real checkpoint gives its golden ids and log-probabilities through the API",
  ignore: !isPresent,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      await writeModel(dir);
      const golden: { cases: readonly Case[] } = JSON.parse(
        await Deno.readTextFile(new URL("golden-fp64.json", FOLDER)),
      );
      const cases = golden.cases.filter(({ prompt }) => prompt !== "");
      await checkServer(["--model", dir, "--device", "cpu"], cases.slice(0, 1));
      await checkServer([`${dir}/stories.gguf`], cases);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
