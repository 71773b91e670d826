/**
 * Every family that both know: the likeliest tokens of random models as GGUF files are llama.cpp's.
 *
 * Runs where `QUIRE_TEST_LLAMA_CPP` names a directory, into which npm installs `node-llama-cpp`
 * unless it is there: some hundred megabytes, which no ordinary run of the tests should fetch.
 */
import { assert } from "@std/assert";
import { parseModel } from "../../models/registry.ts";
import { installLlama } from "../../bench/peers/install_llama.ts";
import type { ForcedAnswer } from "../../bench/peers/forced_llama.ts";
import { vocabulary } from "../../bench/peers/gguf_writer.ts";
import { PROTOCOL_MARK } from "../../bench/peers/peer_task.ts";
import { writeSafetensors } from "../../bench/peers/safetensors_writer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { noise } from "../support/agreement.ts";
import { familyGoldens } from "../support/family_golden.ts";
import { familyGguf, type FamilyMatrixType, hasConverter } from "../support/gguf_family.ts";
import { Scorer } from "../support/perplexity.ts";

const VARIABLE = "QUIRE_TEST_LLAMA_CPP";
const VOCAB = 320;
/** Sizes of which K-quants have whole blocks. */
const WIDE = {
  ...{ hidden_size: 256, intermediate_size: 512, head_dim: 64, num_attention_heads: 4 },
  ...{ num_key_value_heads: 2, vocab_size: VOCAB, max_position_embeddings: 1024 },
};
const TOKENS = Array.from(noise(1000, 9), (value) => 3 + Math.floor((value + 1) / 2 * (VOCAB - 3)));
/**
 * Least shares of positions at which both have the same likeliest token, or with f16 weights one as
 * good: where activations are rounded to 11 bits, logits nearer to each other than TIE are equal.
 */
const LEAST: Readonly<Record<FamilyMatrixType, number>> = { F16: 0.999, Q8_0: 0.98, Q4_K: 0.98 };
/**
 * Of four thousand choices of experts a few are between two whose logits differ by less than f16
 * rounds; llama.cpp then takes the other one, and another token follows: 99.6 % were measured.
 */
const GPT_OSS_LEAST = { F16: 0.995 };
/** As a share of the likeliest tokens' logits: twice 2^-11, the most that an f16 is off. */
const TIE = 2 ** -10;
const TYPES = Object.keys(LEAST) as FamilyMatrixType[];

/** What this build of llama.cpp reads of no file: these families' windows, and YaRN's bounds. */
function unread({ model_type: type, rope_scaling: scaling }: WideModel["config"]) {
  const hasWindow = type !== "mistral" && type !== "phi3";
  const isYarn = (scaling as { rope_type?: string } | null | undefined)?.rope_type === "yarn";
  return {
    ...hasWindow ? {} : { sliding_window: null },
    ...isYarn ? { rope_scaling: { ...scaling as object, beta_fast: 32, beta_slow: 1 } } : {},
  };
}

/** What llama.cpp has no choice of, in families with experts. */
function fixed({ model_type: type }: WideModel["config"]): Readonly<Record<string, unknown>> {
  // A GGUF file cannot say which layers are dense.
  if (type === "qwen3_moe") return { mlp_only_layers: [], moe_intermediate_size: 256 };
  if (type !== "olmoe") return {};
  return { num_key_value_heads: WIDE.num_attention_heads, tie_word_embeddings: false };
}

/** A model by its config alone. */
interface WideModel {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * The cases of all families that can be written, in sizes of which every type has whole blocks;
 * experts are f16 in all of them.
 */
function wideModels(): WideModel[] {
  return familyGoldens()
    .filter(({ config }) => hasConverter(config["model_type"]))
    .filter(({ config }) => !hasFactorLists(config))
    .map(({ name, config }) => ({
      name,
      config: { ...config, ...WIDE, ...unread(config), ...fixed(config) },
    }));
}

/** LongRoPE's lists have the length of a head. */
function hasFactorLists({ rope_scaling: scaling }: WideModel["config"]): boolean {
  return (scaling as { rope_type?: string } | null | undefined)?.rope_type === "longrope";
}

/** Writes a checkpoint with random weights, f16. */
async function writeRandom(dir: string, config: WideModel["config"]): Promise<void> {
  const shapes = new Map<string, readonly number[]>();
  for (const spec of parseModel(config).weights) {
    spec.tensors.forEach((name, i) => shapes.set(name, storedShape(name, spec.shapes[i]!)));
  }
  const isBehind = [...shapes.keys()].some((name) => name.includes("post_feedforward"));
  const isGemma = String(config["model_type"]).startsWith("gemma");
  let seed = 1;
  const tensors = [...shapes].map(([name, shape]) => ({
    name,
    shape,
    values: () => {
      const { center, spread } = rangeOf(name, shape, { isBehind, config });
      const stored = isGemma && shape.length === 1 ? center - 1 : center;
      const values = noise(shape.reduce((a, b) => a * b), seed++, spread);
      const isHead = name === (shapes.has("lm_head.weight") ? "lm_head.weight" : EMBEDDING);
      const factorOf = (i: number) => isHead ? headFactor(Math.floor(i / shape.at(-1)!)) : 1;
      const halves = Float16Array.from(values, (value, i) => factorOf(i) * value + stored);
      return new Uint16Array(halves.buffer);
    },
  }));
  await writeSafetensors(dir, { config }, tensors);
}

/** gpt-oss has the experts of a layer in one tensor, with the columns of each before its rows. */
function storedShape(name: string, shape: readonly number[]): readonly number[] {
  if (!/experts\.(gate_up|down)_proj$/.test(name)) return shape;
  return [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];
}

const EMBEDDING = "model.embed_tokens.weight";

/** Lengths of a head's rows, in no order: of a few dozen tokens one is the likeliest. */
function headFactor(row: number): number {
  return Math.max(1 / 8, 0.9 ** (row * 7919 % VOCAB));
}

/** What the blocks of one kind add together, as a share of what they add to. */
const BLOCK_SHARE = 3 / 16;

/**
 * Where a tensor's numbers lie. Embeddings are about 1 and products keep the size of what they
 * multiply, but the last of each block makes little of it, as in trained models: then few of the
 * likeliest tokens hang on how activations are rounded, which llama.cpp does to f16 and, with
 * quantized weights, to 8 bits. The last norm has either sign, so that a model whose head is its
 * embedding does not answer with the token it reads.
 */
function rangeOf(
  name: string,
  shape: readonly number[],
  { isBehind, config }: { isBehind: boolean; config: WideModel["config"] },
): { center: number; spread: number } {
  const isGemma = String(config["model_type"]).startsWith("gemma");
  const factor = isGemma
    ? Math.sqrt(WIDE.hidden_size)
    : Number(config["embedding_multiplier"] ?? 1);
  if (name === EMBEDDING) return { center: 0, spread: Math.sqrt(3) / factor };
  if (name === "model.norm.weight") return { center: 0, spread: 1 };
  const isLast = isBehind ? /post_(attention|feedforward)/ : /(o|down)_proj/;
  const share = isLast.test(name) ? BLOCK_SHARE / Number(config["num_hidden_layers"]) : 1;
  if (shape.length > 1) return { center: 0, spread: share * Math.sqrt(3 / shape.at(-1)!) };
  if (name.endsWith("norm.weight")) return { center: share, spread: share / 4 };
  return { center: 0, spread: share / 8 };
}

async function forcedBest(install: string, models: readonly string[]): Promise<ForcedAnswer[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      // Not this project's configuration, which knows no folder of packages.
      ...["run", "-A", "--no-check", "--no-config", "--node-modules-dir=manual"],
      "bench/peers/forced_llama.ts",
      ...[install, JSON.stringify(TOKENS), ...models],
    ],
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(success, `${text}\n${new TextDecoder().decode(stderr)}`);
  return text.split("\n").filter((line) => line.startsWith(PROTOCOL_MARK))
    .map((line) => JSON.parse(line.slice(PROTOCOL_MARK.length)));
}

/**
 * The size of errors in these logits: products of normalized rows are all off alike, so that it
 * goes by what the likeliest tokens have on average.
 */
function tieOf(rows: readonly Float32Array[]): number {
  return TIE * rows.reduce((sum, row) => sum + Math.abs(row[argmax(row)]!), 0) / rows.length;
}

function argmax(row: Float32Array): number {
  return row.reduce((best, value, i) => value > row[best]! ? i : best, 0);
}

const folder = Deno.env.get(VARIABLE);
const installed = folder === undefined
  ? { missing: `${VARIABLE} names no directory to install llama.cpp into` }
  : await installLlama(folder);
// deno-lint-ignore no-console -- a skip must say why
if ("missing" in installed) console.warn(`skipped: ${installed.missing}`);

/** The share of positions whose likeliest token both find, by type. */
async function agreement(
  install: string,
  dir: string,
  config: WideModel["config"],
): Promise<Record<FamilyMatrixType, number>> {
  await writeRandom(dir, config);
  const fileOf = (type: FamilyMatrixType) => `${dir}/${type}.gguf`;
  for (const type of TYPES) {
    await Deno.writeFile(fileOf(type), familyGguf(dir, type, vocabulary(VOCAB)));
  }
  const answers = await forcedBest(install, TYPES.map(fileOf));
  const shares = { F16: 0, Q8_0: 0, Q4_K: 0 };
  for (const [i, type] of TYPES.entries()) {
    const answer = answers[i]!;
    assert("best" in answer, `llama.cpp cannot load it in ${type}: ${JSON.stringify(answer)}`);
    const scorer = await Scorer.create(new ReferenceDevice(), { modelDir: fileOf(type) });
    const rows = await scorer.logits(TOKENS);
    const tie = type === "F16" ? tieOf(rows) : 0;
    const isSame = (row: Float32Array, at: number) =>
      row[argmax(row)]! - row[answer.best[at]!]! <= tie;
    shares[type] = rows.filter(isSame).length / rows.length;
  }
  return shares;
}

for (const { name, config } of wideModels()) {
  Deno.test({
    name: `${name}: the likeliest tokens are llama.cpp's`,
    ignore: "missing" in installed,
    async fn() {
      const dir = await Deno.makeTempDir();
      try {
        const shares = await agreement((installed as { dir: string }).dir, dir, config);
        const text = TYPES.map((type) => `${type} ${(100 * shares[type]).toFixed(2)} %`).join(", ");
        // deno-lint-ignore no-console -- what is measured belongs into a page
        console.info(`${name}: ${text}`);
        const least = { ...LEAST, ...(config["model_type"] === "gpt_oss" ? GPT_OSS_LEAST : {}) };
        for (const type of TYPES) assert(shares[type] >= least[type], text);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}
