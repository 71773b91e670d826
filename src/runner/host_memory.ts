/** Assumed free memory where this process has no permission to ask. */
const UNKNOWN_FREE_BYTES = 2 ** 31;

/**
 * Bytes of memory that the host can still give, as the system says; a container's own limit is not
 * seen.
 */
export function hostFreeBytes(): number {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  return state === "granted" ? Deno.systemMemoryInfo().available : UNKNOWN_FREE_BYTES;
}
