/** Assumed free memory where this process has no permission to ask. */
const UNKNOWN_FREE_BYTES = 2 ** 31;

/** The host's memory, for a device that has none of its own. */
export interface UnifiedMemory {
  readonly freeBytes: number;
  /** False where the size is assumed: nothing is refused then. */
  readonly isKnown: boolean;
}

/** The host's free memory as the system reports it; a container's own limit does not count. */
export function unifiedMemory(): UnifiedMemory {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  return state === "granted"
    ? { freeBytes: Deno.systemMemoryInfo().available, isKnown: true }
    : { freeBytes: UNKNOWN_FREE_BYTES, isKnown: false };
}
