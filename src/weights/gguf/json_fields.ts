/** A JSON object, or part of one. */
export type Fields = Readonly<Record<string, unknown>>;

/** The fields that have a value. */
export function definedFields(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
