import { KernelError } from "../core/errors.ts";
import { ArgumentBuffers } from "./argument_buffers.ts";
import { basedCall } from "./binding_base.ts";
import { withErrorScopes } from "./error_scopes.ts";
import { bindingResource } from "./gpu_memory.ts";
import { ARGS_BINDING, type KernelCall } from "./kernel.ts";
import { hasArgs, PipelineCache } from "./pipeline_cache.ts";
import type { PreparedCall } from "./step_recorder.ts";

/** Makes all that recording a call needs: its pipeline, its arguments and its bind group. */
export class CallCompiler {
  readonly #device: GPUDevice;
  readonly #pipelines: PipelineCache;
  readonly #arguments: ArgumentBuffers;

  /** @param preamble goes before every kernel's text. */
  constructor(device: GPUDevice, preamble: string) {
    this.#device = device;
    this.#pipelines = new PipelineCache(device, preamble);
    this.#arguments = new ArgumentBuffers(device);
  }

  /**
   * Prepares calls, in order; one that occurs several times is prepared once.
   *
   * @param onProgress is told the share of the calls that are prepared.
   * @throws {KernelError} naming the kernel that does not compile or bind.
   */
  async prepare<Dims>(
    calls: readonly KernelCall<Dims>[],
    onProgress: (share: number) => void,
  ): Promise<PreparedCall<Dims>[]> {
    const { minStorageBufferOffsetAlignment } = this.#device.limits;
    const prepared = new Map<KernelCall<Dims>, PreparedCall<Dims>>();
    const distinct = new Set(calls);
    for (const call of distinct) {
      const { constants, offsets } = basedCall(call, minStorageBufferOffsetAlignment);
      const { pipeline, layout } = await this.#pipelines.get({ ...call, constants });
      const bindGroup = await this.#bind(call, layout, offsets);
      prepared.set(call, { pipeline, bindGroup, workgroups: call.workgroups });
      onProgress(prepared.size / distinct.size);
    }
    return calls.map((call) => prepared.get(call)!);
  }

  async #bind<Dims>(
    call: KernelCall<Dims>,
    layout: GPUBindGroupLayout,
    offsets: readonly number[],
  ): Promise<GPUBindGroup> {
    const { made, error } = await withErrorScopes(
      this.#device,
      ["validation"],
      () =>
        this.#device.createBindGroup({
          label: call.label,
          layout,
          entries: [
            ...call.buffers.map((buffer, binding) => ({
              binding,
              resource: bindingResource(buffer, offsets[binding]!),
            })),
            ...hasArgs(call)
              ? [{ binding: ARGS_BINDING, resource: { buffer: this.#arguments.get(call) } }]
              : [],
          ],
        }),
    );
    if (error) throw new KernelError(call.kernelName, `${call.label}: ${error.message}`);
    return made;
  }
}
