import { KernelError } from "../core/errors.ts";
import { withErrorScopes } from "./error_scopes.ts";
import { ARGS_BINDING, type Binding, type KernelCall } from "./kernel.ts";
import { expandWgsl } from "./wgsl_template.ts";

/** Texels of all textures: four words. */
export const TEXTURE_FORMAT: GPUTextureFormat = "rgba32uint";

/** A compiled kernel and the layout its bind groups follow. */
export interface CachedPipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Compiles each distinct expanded source once; layers of equal shape share their pipelines. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #preamble: string;
  readonly #pipelines = new Map<string, CachedPipeline>();
  /** By template and constants: expanding one takes milliseconds, and layers repeat them. */
  readonly #expanded = new Map<string, Map<string, CachedPipeline>>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  /** @param preamble goes before every kernel's text. */
  constructor(device: GPUDevice, preamble = "") {
    this.#device = device;
    this.#preamble = preamble;
  }

  /** @throws {KernelError} with the compiler's message. */
  async get<Dims>(call: KernelCall<Dims>): Promise<CachedPipeline> {
    const ofSource = this.#expanded.getOrInsertComputed(call.source, () => new Map());
    const constants = JSON.stringify(call.constants);
    let cached = ofSource.get(constants);
    if (cached === undefined) {
      const code = this.#preamble + expandWgsl(call.source, call.constants);
      cached = this.#pipelines.get(code) ?? await this.#compile(call, code);
      this.#pipelines.set(code, cached);
      ofSource.set(constants, cached);
    }
    return cached;
  }

  async #compile<Dims>(call: KernelCall<Dims>, code: string): Promise<CachedPipeline> {
    const forms = call.bindings.map(({ access }, i) => ({
      access,
      isTexture: call.buffers[i]!.isTexture === true,
    }));
    const layout = this.#layout(forms, hasArgs(call));
    // A driver's refusal of a sound kernel is an internal error.
    const { made, error } = await withErrorScopes(
      this.#device,
      ["validation", "internal"],
      () =>
        this.#device.createComputePipeline({
          label: call.label,
          layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
          compute: {
            module: this.#device.createShaderModule({ label: call.kernelName, code }),
            entryPoint: call.kernelName,
          },
        }),
    );
    if (error) throw new KernelError(call.kernelName, error.message);
    return { pipeline: made, layout };
  }

  #layout(bindings: readonly BindingForm[], hasArgs: boolean): GPUBindGroupLayout {
    const key = bindings.map(({ access, isTexture }) => `${access}${isTexture ? " texture" : ""}`)
      .concat(hasArgs ? ["args"] : []).join();
    let layout = this.#layouts.get(key);
    if (layout === undefined) {
      layout = this.#device.createBindGroupLayout({
        label: key,
        entries: [
          ...bindings.map((form, binding) => ({ binding, ...bindingLayout(form) })),
          ...hasArgs ? [{ binding: ARGS_BINDING, buffer: { type: "uniform" as const } }] : [],
        ].map((entry) => ({ visibility: GPUShaderStage.COMPUTE, ...entry })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }
}

/** Whether a call has arguments to bind. */
export function hasArgs({ args = [] }: Pick<KernelCall<never>, "args">): boolean {
  return args.length > 0;
}

/** The members of a binding that a bind group layout depends on. */
type BindingForm = Pick<Binding, "access"> & Readonly<{ isTexture: boolean }>;

function bindingLayout({ access, isTexture }: BindingForm) {
  if (!isTexture) {
    const type: GPUBufferBindingType = access === "read" ? "read-only-storage" : "storage";
    return { buffer: { type } };
  }
  const textureAccess: GPUStorageTextureAccess = access === "read" ? "read-only" : "write-only";
  return { storageTexture: { access: textureAccess, format: TEXTURE_FORMAT } };
}
