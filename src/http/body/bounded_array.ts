import { z } from "zod";

/**
 * An array whose length is checked before its elements are. Zod collects an issue for every bad
 * element: without this order, a body of a few MiB makes gigabytes of them.
 */
export function boundedArray<S extends z.ZodType>(
  element: S,
  { min = 0, max }: { readonly min?: number; readonly max: number },
): z.ZodPipe<z.ZodArray<z.ZodUnknown>, z.ZodArray<S>> {
  const bounds = { ...(min === 0 ? {} : { minItems: min }), maxItems: max };
  return z.array(z.unknown()).min(min).max(max).pipe(z.array(element)).meta(bounds);
}

/**
 * An array of up to `max` elements, whose elements are not checked: Zod takes some hundredths of a
 * second for a million, and no other request is answered meanwhile.
 */
export function longArray(max: number): z.ZodType<readonly unknown[]> {
  return z.unknown().superRefine((value, context) => {
    if (!Array.isArray(value)) {
      context.addIssue({ code: "invalid_type", expected: "array", input: value });
    } else if (value.length > max) {
      const bound = { origin: "array", maximum: max, inclusive: true } as const;
      context.addIssue({ code: "too_big", ...bound, input: value });
    }
  }).meta({ type: "array", maxItems: max }) as unknown as z.ZodType<readonly unknown[]>;
}
