import type { HostBuffer } from "./host_buffer.ts";

/** Values that a template substitutes or branches on: dimensions, tile shapes, element types. */
export type Constants = Readonly<Record<string, number | boolean | string>>;

/** One storage buffer of a kernel, or texture in its place, in binding order from 0. */
export interface Binding {
  /** The WGSL variable's name. */
  readonly name: string;
  readonly access: "read" | "read_write";
  /**
   * The constants that say nothing but where in this buffer the call's part begins, the first of
   * them in u32 words, the others in units of their own. A device that binds the buffer from there
   * expands the template with zeros in their place.
   */
  readonly base?: readonly string[];
}

/** Workgroups in x, y and z; a call with a zero is skipped. */
export type Workgroups = readonly [x: number, y: number, z: number];

/**
 * One operation, written twice: as a WGSL template and as a plain TypeScript definition, with which
 * tests compare it (`docs/decisions/kernel-definitions.md`).
 *
 * The template is expanded with the call's constants (`wgsl_template.ts`); its entry point bears
 * the kernel's name, its bindings are storage buffers of group 0 in the order of `bindings`.
 */
export interface Kernel<C extends Constants> {
  readonly name: string;
  readonly source: string;
  readonly bindings: readonly Binding[];
  /**
   * Constants, whole numbers from 0, that WGSL reads as `args.NAME` when it runs: calls that differ
   * in no others share a pipeline. The source holds {@link argsWgsl} of the same names.
   */
  readonly args?: readonly (keyof C & string)[];
  /** The definition, over the same buffers by binding name; reads counts from the step metadata. */
  readonly reference: (buffers: Readonly<Record<string, HostBuffer>>, constants: C) => void;
}

/** Where a kernel's arguments are bound: past the buffers of any. */
export const ARGS_BINDING = 15;

/** The declaration of a kernel's arguments. */
export function argsWgsl(names: readonly string[]): string {
  const members = names.map((name) => `  ${name}: u32,\n`).join("");
  return `struct Args {\n${members}}\n` +
    `@group(0) @binding(${ARGS_BINDING}) var<uniform> args: Args;\n`;
}

/** Memory of a device; opaque to all but the device that made it. */
export interface DeviceBuffer {
  readonly label: string;
  readonly bytes: number;
  /**
   * Whether it was made by `Device.createTexture`: kernels then declare a storage texture in its
   * place.
   */
  readonly isTexture?: boolean;
}

/** A kernel with its constants and buffers; only the number of workgroups varies by step. */
export interface KernelCall<Dims> {
  readonly label: string;
  readonly kernelName: string;
  readonly source: string;
  readonly constants: Constants;
  readonly bindings: readonly Binding[];
  /** Constants that the device hands to the kernel at `ARGS_BINDING`; none unless given. */
  readonly args?: readonly string[];
  /** One per binding, in order. */
  readonly buffers: readonly DeviceBuffer[];
  readonly workgroups: (dims: Dims) => Workgroups;
  readonly reference: (buffers: Readonly<Record<string, HostBuffer>>) => void;
}

/** Ties a kernel to constants and named buffers. */
export function kernelCall<C extends Constants, Dims>(kernel: Kernel<C>, call: {
  label?: string;
  constants: C;
  buffers: Readonly<Record<string, DeviceBuffer>>;
  workgroups: (dims: Dims) => Workgroups;
}): KernelCall<Dims> {
  const label = call.label ?? kernel.name;
  return {
    label,
    kernelName: kernel.name,
    source: kernel.source,
    constants: call.constants,
    bindings: kernel.bindings,
    args: kernel.args ?? [],
    buffers: kernel.bindings.map(({ name }) => {
      const buffer = call.buffers[name];
      if (buffer === undefined) throw new TypeError(`${label}: buffer "${name}" is missing`);
      return buffer;
    }),
    workgroups: call.workgroups,
    reference: (buffers) => kernel.reference(buffers, call.constants),
  };
}
