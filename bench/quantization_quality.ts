/**
 * `deno task bench:quantization-quality`: what quantized weights, keys and values cost trained models,
 * beside llama.cpp on the same weights.
 *
 * Of the bundled model and, where `../shared` has it, of stories260K: perplexity of texts and the
 * divergence from f32 (of the same engine, nats per token), by format, here and in llama.cpp (Q8_0,
 * Q4_0 and Q4_K_M weights; q4_0 KV). Texts are the bundled model's evaluation stories, and what
 * stories260K draws itself. `--quick` takes one text of the bundled model and leaves llama.cpp out,
 * `--llama-dir DIR` says where llama.cpp is installed to, `--write` keeps the result, which is the
 * last line as JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { readModel } from "../models/registry.ts";
import { parseConfig, toEngineConfig } from "../src/core/config.ts";
import type { EngineConfig } from "../src/core/engine_config.ts";
import { matrixBytes, matrixFormat } from "../src/core/weight_format.ts";
import type { Device } from "../src/device/device.ts";
import { table } from "../src/plan/plan_text.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { isVector, weightShape } from "../src/runner/weight_buffers.ts";
import { DEMO_DIR, DemoEngine, GREEDY_64 } from "../tests/support/demo_engine.ts";
import { demoGguf, llama2cVocabulary, toGguf } from "../tests/support/gguf_checkpoint.ts";
import { convertLlama2c } from "../tests/support/llama2c_checkpoint.ts";
import {
  divergence,
  evaluationStories,
  perplexity,
  Scorer,
  scoresOf,
} from "../tests/support/perplexity.ts";
import { installLlama } from "./peers/install_llama.ts";
import { type LlamaFormat, llamaScores } from "./peers/llama_quality.ts";
import { keepResult } from "./results.ts";

const isQuick = Deno.args.includes("--quick");
const llamaDirAt = Deno.args.indexOf("--llama-dir");

/** Flags of each format here; weights with KV in f32, KV with the weights that the file has. */
const FORMATS: readonly (readonly string[])[] = [
  ["--quantization", "int8"],
  ["--quantization", "int4"],
  ["--quantization", "int4", "--quantization-embedding", "int4"],
  ["--quantization", "int4", "--int8-activations", "on"],
  ["--quantization", "int4", "--quantization-group-size", "128"],
  ["--kv-cache-dtype", "int8"],
  ["--kv-cache-dtype", "fp8"],
  ["--kv-cache-dtype", "int4"],
  ["--kv-cache-dtype", "int4", "--no-kv-cache-f16-edge-layers"],
];

const QUICK_FORMATS = [["--quantization", "int4"], ["--kv-cache-dtype", "int4"]] as const;

const LLAMA_FORMATS: readonly LlamaFormat[] = [
  { weights: "Q8_0", kv: "F16" },
  { weights: "Q4_0", kv: "F16" },
  { weights: "Q4_K_M", kv: "F16" },
  { kv: "Q4_0" },
];

interface TrainedModel {
  readonly name: string;
  readonly dir: string;
  readonly gguf: () => Uint8Array;
  readonly texts: (device: Device) => Promise<Uint32Array[]>;
}

const STORIES260K = new URL("../../shared/data/weights/stories260K/", import.meta.url).pathname;
/** Texts that stories260K draws, and their length. */
const [NUM_DRAWN, DRAWN_TOKENS] = [12, 200];

async function trainedModels(temp: string): Promise<TrainedModel[]> {
  const stories = () => Promise.resolve(evaluationStories());
  const models = [
    { name: "quire-demo", dir: DEMO_DIR, gguf: () => demoGguf("F32"), texts: stories },
  ] as TrainedModel[];
  if (isQuick) return models;
  if (!await Deno.stat(STORIES260K).then(() => true, () => false)) {
    console.log(`skipped: ${STORIES260K} is absent`);
    return models;
  }
  const dir = `${temp}/stories260K`;
  await Deno.mkdir(dir);
  await convertLlama2c(`${STORIES260K}/stories260K.bin`, dir);
  const gguf = () => toGguf(dir, "F32", llama2cVocabulary(`${STORIES260K}/tok512.bin`, 512));
  return [...models, { name: "stories260K", dir, gguf, texts: (device) => drawn(device, dir) }];
}

/** Texts that the model draws at temperature 1, from its start token on. */
async function drawn(device: Device, modelDir: string): Promise<Uint32Array[]> {
  const engine = await DemoEngine.create(device, { modelDir, kvCacheDtype: "f32" });
  const params = { ...GREEDY_64, maxTokens: DRAWN_TOKENS, temperature: 1 };
  const arrivals = Array.from({ length: NUM_DRAWN }, (_, seed) => ({
    prompt: [1],
    params: { ...params, seed },
  }));
  const outcomes = await engine.generate(arrivals);
  return outcomes.map(({ tokens }) => Uint32Array.of(1, ...tokens));
}

/** A row of the table; the first of each engine is what the others are compared with. */
interface Row {
  readonly model: string;
  readonly format: string;
  /** Of matrices, scales included; absent where weights are as in the file. */
  readonly bitsPerWeight?: number;
  readonly perplexity: number;
  readonly divergence: number;
}

type Logits = readonly (readonly ArrayLike<number>[])[];

function rowOf(
  names: Pick<Row, "model" | "format" | "bitsPerWeight">,
  texts: readonly Uint32Array[],
  logits: Logits,
  reference: Logits,
): Row {
  const row = {
    ...names,
    perplexity: perplexity(texts.map((text, i) => scoresOf(logits[i]!, text))),
    divergence: divergence(reference.flat(), logits.flat()),
  };
  console.log(JSON.stringify(row));
  return row;
}

function bitsPerWeight(dir: string, { quantization }: EngineConfig): number {
  let [bytes, count] = [0, 0];
  for (const spec of readModel(dir).weights.filter((spec) => !isVector(spec))) {
    const { numOutputs, rowsPerOutput, columns } = weightShape(spec);
    const rows = numOutputs * rowsPerOutput;
    const { isVocabulary = false } = spec;
    bytes += matrixBytes(matrixFormat(quantization!, { columns, isVocabulary }), rows, columns);
    count += rows * columns;
  }
  return 8 * bytes / count;
}

async function measureHere(
  device: Device,
  { name: model, dir }: TrainedModel,
  texts: readonly Uint32Array[],
): Promise<Row[]> {
  const logitsOf = async (config: Partial<EngineConfig>) => {
    const scorer = await Scorer.create(device, { modelDir: dir, ...config });
    const logits: Float32Array[][] = [];
    for (const text of texts) logits.push(await scorer.logits(text));
    return logits;
  };
  const reference = await logitsOf({ kvCacheDtype: "f32" });
  const rows = [rowOf({ model, format: "as stored, KV in f32" }, texts, reference, reference)];
  for (const flags of isQuick ? QUICK_FORMATS : FORMATS) {
    const config = toEngineConfig(parseConfig(flags, {}), dir);
    const { quantization, int8Activations, kvCacheDtype, kvCacheF16EdgeLayers } = config;
    const bits = quantization === undefined ? {} : { bitsPerWeight: bitsPerWeight(dir, config) };
    const logits = await logitsOf(
      quantization === undefined
        ? { kvCacheDtype, ...kvCacheF16EdgeLayers === undefined ? {} : { kvCacheF16EdgeLayers } }
        : { quantization, int8Activations: int8Activations ?? "off", kvCacheDtype: "f32" },
    );
    rows.push(rowOf({ model, format: flags.join(" "), ...bits }, texts, logits, reference));
  }
  return rows;
}

async function measureLlama(
  llamaDir: string,
  temp: string,
  { name: model, dir, gguf }: TrainedModel,
  texts: readonly Uint32Array[],
): Promise<Row[]> {
  const file = `${temp}/${model}.gguf`;
  await Deno.writeFile(file, gguf());
  const { vocabSize, attention } = readModel(dir);
  const at = { dir: temp, model: file, vocabSize };
  const { logprobs: reference } = await llamaScores(llamaDir, at, { kv: "F16" }, texts);
  const rows = [rowOf({ model, format: "llama.cpp F32, KV in F16" }, texts, reference, reference)];
  for (const format of LLAMA_FORMATS) {
    // Its blocks of 32 do not cross heads.
    if (format.kv === "Q4_0" && attention[0]!.headDim % 32 !== 0) continue;
    const { weights = "F32", kv } = format;
    const { bitsPerWeight, logprobs } = await llamaScores(llamaDir, at, format, texts);
    const bits = weights === "F32" ? {} : { bitsPerWeight };
    const names = { model, format: `llama.cpp ${weights}, KV in ${kv}`, ...bits };
    rows.push(rowOf(names, texts, logprobs, reference));
  }
  return rows;
}

async function main(): Promise<void> {
  const temp = await Deno.makeTempDir();
  try {
    const llamaDir = llamaDirAt < 0 ? `${temp}/llama` : Deno.args[llamaDirAt + 1]!;
    const installed = isQuick ? { missing: "--quick" } : await installLlama(llamaDir);
    if ("missing" in installed) console.log(`without llama.cpp: ${installed.missing}`);
    const rows: Row[] = [];
    let deviceName = "";
    for (const model of await trainedModels(temp)) {
      const device = await openDevice("auto");
      deviceName = device.description;
      const texts = (await model.texts(device)).slice(0, isQuick ? 1 : Infinity);
      rows.push(...await measureHere(device, model, texts));
      device.destroy();
      if ("missing" in installed) continue;
      rows.push(...await measureLlama(installed.dir, temp, model, texts));
    }
    console.log(table([
      ["model", "format", "bits per weight", "perplexity", "divergence"],
      ...rows.map(({ model, format, bitsPerWeight, perplexity, divergence }) => [
        ...[model, format, bitsPerWeight?.toFixed(2) ?? "", perplexity.toFixed(4)],
        divergence.toFixed(5),
      ]),
    ]));
    const result = { bench: "quantization-quality", device: deviceName, rows };
    await keepResult(result, { write: Deno.args.includes("--write") });
  } finally {
    await Deno.remove(temp, { recursive: true });
  }
}

if (import.meta.main) await main();
