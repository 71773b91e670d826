/** One way in which llama.cpp holds a model. */
export interface LlamaFormat {
  /** Type of the weights; absent for those of the file. */
  readonly weights?: "Q8_0" | "Q4_0" | "Q4_K_M";
  readonly kv: "F16" | "Q4_0";
}

/** What llama.cpp makes of texts. */
export interface LlamaScores {
  /** Of all weights, scales included, as the library says. */
  readonly bitsPerWeight: number;
  /** Log-probabilities of all tokens at each position of each text. */
  readonly logprobs: readonly Float32Array[][];
}

/**
 * Log-probabilities of texts by the llama.cpp that `installLlama` put into `llamaDir`, of the f32
 * GGUF file `model` quantized to a format. Files lie in `dir`.
 */
export async function llamaScores(
  llamaDir: string,
  { dir, model, vocabSize }: { dir: string; model: string; vocabSize: number },
  { weights, kv }: LlamaFormat,
  texts: readonly ArrayLike<number>[],
): Promise<LlamaScores> {
  let [path, bitsPerWeight] = [model, 32];
  if (weights !== undefined) {
    path = `${dir}/${weights}.gguf`;
    const said = await runScript("llama_quantize.ts", [llamaDir, model, path, weights]);
    bitsPerWeight = Number([...said.matchAll(/\(([\d.]+) BPW\)/g)].at(-1)![1]);
  }
  const [input, output] = [`${dir}/texts.json`, `${dir}/logprobs.bin`];
  await Deno.writeTextFile(input, JSON.stringify(texts.map((text) => Array.from(text))));
  await runScript("llama_logprobs.ts", [llamaDir, path, kv, input, output]);
  const all = new Float32Array((await Deno.readFile(output)).buffer);
  let at = 0;
  const logprobs = texts.map((text) =>
    Array.from({ length: text.length }, () => all.subarray(at, at += vocabSize))
  );
  return { bitsPerWeight, logprobs };
}

/** What a script of this folder prints. @throws {Error} with that when it fails. */
async function runScript(script: string, args: readonly string[]): Promise<string> {
  const file = new URL(script, import.meta.url).pathname;
  // Not this project's configuration, which knows no folder of packages.
  const options = ["run", "-A", "--no-check", "--no-config", "--node-modules-dir=manual"];
  const child = new Deno.Command(Deno.execPath(), { args: [...options, file, ...args] });
  const { success, stdout, stderr } = await child.output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (!success) throw new Error(`${script} failed: ${said.slice(-2000)}`);
  return said;
}
