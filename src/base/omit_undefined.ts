/** `T` with the fields that may be undefined as optional ones. */
export type OmitUndefined<T> =
  & { [K in keyof T as undefined extends T[K] ? never : K]: T[K] }
  & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> };

/** A copy without the fields that are undefined, as optional fields want it. O(fields). */
export function omitUndefined<T extends object>(fields: T): OmitUndefined<T> {
  const defined: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) defined[name] = value;
  }
  return defined as OmitUndefined<T>;
}
