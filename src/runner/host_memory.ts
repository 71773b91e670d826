/** Assumed free memory where this process has no permission to ask. */
const UNKNOWN_FREE_BYTES = 2 ** 31;

/**
 * Bytes of memory that the host can still give, as the system says; a container's own limit is not
 * seen.
 */
export function hostFreeBytes(): number {
  try {
    return Deno.systemMemoryInfo().available;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return UNKNOWN_FREE_BYTES;
    throw error;
  }
}
