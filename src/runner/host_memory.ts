/** Assumed free memory where this process has no permission to ask. */
const UNKNOWN_FREE_BYTES = 2 ** 31;

/** Memory of the host that a device uses which has none of its own. */
export interface HostMemory {
  readonly freeBytes: number;
  /** False where the size is assumed, and nothing is refused for it. */
  readonly isKnown: boolean;
}

/**
 * Memory that the host can still give, as the system says; a container's own limit is not seen.
 */
export function hostMemory(): HostMemory {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  return state === "granted"
    ? { freeBytes: Deno.systemMemoryInfo().available, isKnown: true }
    : { freeBytes: UNKNOWN_FREE_BYTES, isKnown: false };
}
