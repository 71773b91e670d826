import { z } from "zod";

/**
 * An array whose length is checked before its elements are. Zod collects an issue for every bad
 * element: without this order, a body of a few MiB makes gigabytes of them.
 */
export function boundedArray<S extends z.ZodType>(
  element: S,
  { min = 0, max }: { readonly min?: number; readonly max: number },
): z.ZodPipe<z.ZodArray<z.ZodUnknown>, z.ZodArray<S>> {
  return z.array(z.unknown()).min(min).max(max).pipe(z.array(element));
}
