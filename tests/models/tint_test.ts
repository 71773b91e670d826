/**
 * All kernels of a model through Tint, Dawn's compiler. It refuses what naga lets pass: barriers and
 * subgroup operations that not all lanes may reach.
 *
 * These tests need `npm install --no-save webgpu@0.6.2` in the repository, and a Vulkan driver that Dawn
 * accepts: SwiftShader, which Debian's package `chromium-common` holds; `QUIRE_SWIFTSHADER_ICD` names its
 * `vk_swiftshader_icd.json` where it lies elsewhere. Without them they are skipped and say so. They run in
 * a process of their own, since a process has one Vulkan.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Tuning, tuningFor } from "../../kernels/tuning/tuning.ts";
import type { Model } from "../../models/model.ts";
import { KNOWN_MODEL_TYPES, parseModel, readModel } from "../../models/registry.ts";
import { KV_CACHE_DTYPES, type KvCacheDtype } from "../../src/core/engine_config.ts";
import { isQuantized, type WeightDtype } from "../../src/core/weight_format.ts";
import { wgslPreamble } from "../../src/device/capabilities.ts";
import { dawnProvider } from "../../src/device/dawn_provider.ts";
import type { GpuProvider } from "../../src/device/gpu_provider.ts";
import { type GrantedDevice, requestDevice } from "../../src/device/request_device.ts";
import { expandWgsl } from "../../src/device/wgsl_template.ts";
import { familyGoldens } from "../support/family_golden.ts";
import { BLOCK_DTYPES, WEIGHT_DTYPES } from "../support/weight_fixture.ts";
import { modelGraph } from "../support/model_graph.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const ICD = Deno.env.get("QUIRE_SWIFTSHADER_ICD") ?? "/usr/lib/chromium/vk_swiftshader_icd.json";
/** Set for the process in which the tests run. */
const CHILD = "QUIRE_TEST_TINT";

/** Why the tests cannot run here; undefined where they can. */
async function obstacle(): Promise<string | undefined> {
  try {
    await dawnProvider(ROOT);
    await Deno.stat(ICD);
  } catch (error) {
    return (error as Error).message;
  }
}

/** A device whose modules Tint compiles; it lives as long as its provider does. */
interface TintDevice extends GrantedDevice {
  readonly provider: GpuProvider;
}

/** What Tint has against `code`, if anything. */
async function complaint({ device, capabilities }: TintDevice, code: string) {
  device.pushErrorScope("validation");
  device.createShaderModule({ code: wgslPreamble(capabilities) + code });
  return (await device.popErrorScope())?.message;
}

/** The tunings of every tier, as far as the compiler grants what they use. */
function* tunings({ capabilities }: TintDevice): Generator<Tuning> {
  for (const tier of ["software", "baseline", "subgroups"] as const) {
    for (const hasSubgroups of capabilities.hasSubgroups ? [false, true] : [false]) {
      for (const isDeterministic of [false, true]) {
        // Short heads need more lanes than SwiftShader's subgroups have.
        const subgroupMinSize = hasSubgroups ? 32 : 0;
        const granted = { ...capabilities, tier, hasSubgroups, subgroupMinSize };
        yield tuningFor(granted, { isDeterministic });
        yield tuningFor(granted, { isDeterministic, int8Activations: "on" });
      }
    }
  }
}

/** Types of weights and of KV. */
interface Dtypes {
  readonly weights: readonly WeightDtype[];
  readonly kv: readonly KvCacheDtype[];
}

const EVERY_DTYPE: Dtypes = { weights: WEIGHT_DTYPES, kv: KV_CACHE_DTYPES };
/** For families, whose own kernels know nothing of types: products plain and of codes. */
const SOME_DTYPES: Dtypes = { weights: ["f16", "int8g32"], kv: ["f16", "int8"] };

/** Rows of whole blocks. */
const WIDE = { hidden_size: 256, intermediate_size: 512, head_dim: 64 };

/** The bundled model, and one of each family with its quirks. */
function* models(): Generator<readonly [Model, Dtypes]> {
  yield [readModel(`${ROOT}models/demo`), EVERY_DTYPE];
  const { config: llama } = familyGoldens()[0]!;
  const sizes = { ...WIDE, num_attention_heads: 4 };
  yield [parseModel({ ...llama, ...sizes }), { weights: BLOCK_DTYPES, kv: ["f16"] }];
  for (const { config } of familyGoldens()) {
    const isKnown = KNOWN_MODEL_TYPES.some((modelType) => modelType === config["model_type"]);
    // Codes are written by eights, and some of these heads are of twelve elements.
    const rotated = Number(config["head_dim"]) * Number(config["partial_rotary_factor"] ?? 1);
    const dtypes = rotated % 8 === 0 ? SOME_DTYPES : { ...SOME_DTYPES, kv: ["f16"] as const };
    if (isKnown) yield [parseModel(config), dtypes];
  }
}

/** The distinct texts of all kernels that these models can call. */
function kernelTexts(tint: TintDevice): Map<string, string> {
  const texts = new Map<string, string>();
  for (const [model, dtypes] of models()) addTexts(tint, model, dtypes, texts);
  return texts;
}

function addTexts(
  tint: TintDevice,
  model: Model,
  dtypes: Dtypes,
  texts: Map<string, string>,
): void {
  const buffer = { label: "any", bytes: 4 };
  const texture = { ...buffer, isTexture: true };
  const seen = new Set<string>();
  for (const tuning of tunings(tint)) {
    for (const dtype of dtypes.weights) {
      const held = tuning.usesWeightTextures && !isQuantized(dtype) ? [buffer, texture] : [buffer];
      for (
        const [kvDtype, matrix] of dtypes.kv.flatMap((kv) => held.map((m) => [kv, m] as const))
      ) {
        const calls = modelGraph(model, { matrix, dtype, kvDtype, tuning });
        for (const { source, constants, kernelName } of calls) {
          const key = kernelName + JSON.stringify(constants);
          if (seen.has(key)) continue;
          seen.add(key);
          texts.set(expandWgsl(source, constants), kernelName);
        }
      }
    }
  }
}

if (Deno.env.has(CHILD)) {
  const provider = await dawnProvider(ROOT);
  const adapter = await provider.gpu.requestAdapter();
  assert(adapter, `Dawn accepts no adapter of ${ICD}`);
  const tint = { ...await requestDevice(adapter, provider), provider };

  Deno.test("Tint accepts every kernel in the shapes of every tuning", async () => {
    const texts = kernelTexts(tint);
    const names = new Set(texts.values());
    const some = ["matmul", "gemm", "rms_norm", "paged_attention_decode", "sample_tokens"];
    for (const name of [...some, "norm_add"]) {
      assert(names.has(name), `${name} was not among them`);
    }
    const complaints = [];
    for (const [text, name] of texts) {
      const message = await complaint(tint, text);
      if (message !== undefined) complaints.push(`${name}: ${message}`);
    }
    assertEquals(complaints, []);
  });

  Deno.test("Tint refuses a barrier that not all lanes reach", async () => {
    const message = await complaint(
      tint,
      `
@group(0) @binding(0) var<storage, read_write> lanes: array<u32>;
@compute @workgroup_size(64)
fn divergent(@builtin(local_invocation_index) index: u32) {
  if (lanes[index] == 0u) { workgroupBarrier(); }
}`,
    );
    assertStringIncludes(message ?? "", "uniform control flow");
  });
} else {
  const missing = await obstacle();
  // deno-lint-ignore no-console -- a skip must say why
  if (missing !== undefined) console.warn(`skipped: the kernels through Tint: ${missing}`);
  Deno.test({
    name: "Tint accepts every kernel, and refuses a divergent barrier",
    ignore: missing !== undefined,
    fn: async () => {
      const { success, stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["test", "-A", "--no-check", import.meta.url],
        env: { [CHILD]: "1", VK_ICD_FILENAMES: ICD, NO_COLOR: "1" },
      }).output();
      assert(success, new TextDecoder().decode(stdout));
    },
  });
}
