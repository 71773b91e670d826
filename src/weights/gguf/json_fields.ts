/** A JSON object, or part of one. */
export type Fields = Readonly<Record<string, unknown>>;
