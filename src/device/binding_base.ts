import type { Constants, KernelCall } from "./kernel.ts";

/** What a device compiles for a call, and from which byte on it binds each buffer. */
export interface BasedCall {
  readonly constants: Constants;
  /** One per binding, in order. */
  readonly offsets: readonly number[];
}

const WORD_BYTES = 4;

/**
 * Moves the places that a call's constants give into its bindings, where a multiple of `alignment`
 * bytes allows: so layers that share a buffer share the pipelines of their kernels, and a software
 * adapter takes 0.1 to 1 s to compile one.
 */
export function basedCall<Dims>(
  { bindings, constants }: Pick<KernelCall<Dims>, "bindings" | "constants">,
  alignment: number,
): BasedCall {
  const based: Record<string, Constants[string]> = { ...constants };
  const offsets = bindings.map(({ base = [] }) => {
    const offset = base.length === 0 ? 0 : Number(constants[base[0]!] ?? 0) * WORD_BYTES;
    if (offset === 0 || offset % alignment !== 0) return 0;
    for (const name of base) if (name in based) based[name] = 0;
    return offset;
  });
  return { constants: based, offsets };
}
