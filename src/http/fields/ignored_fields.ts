import type { Context } from "hono";
import { z } from "zod";

/** Names the fields of a body that have been accepted and mean nothing here. */
export const IGNORED_FIELDS_HEADER = "x-quire-ignored-fields";

/** Names that are listed, and characters of one. */
const MAX_NAMES = 32;
const MAX_NAME_CHARS = 64;

/**
 * Fields of other servers that the schema of an endpoint names for the sake of their type, or that
 * are checked to be neutral, are not ignored; all that is in none of these is told in a header.
 *
 * @param known the fields that are refused unless they are neutral.
 */
export function tellIgnoredFields(
  c: Context,
  body: unknown,
  schema: z.ZodType,
  known: ReadonlyMap<string, unknown>,
): void {
  if (!(schema instanceof z.ZodObject) || typeof body !== "object" || body === null) return;
  const { shape } = schema;
  const ignored = Object.entries(body)
    .filter(([name, value]) => value !== null && !Object.hasOwn(shape, name) && !known.has(name))
    .map(([name]) => name)
    .filter((name) => /^[\w.-]+$/.test(name) && name.length <= MAX_NAME_CHARS);
  if (ignored.length === 0) return;
  const more = ignored.length > MAX_NAMES ? [`and ${ignored.length - MAX_NAMES} more`] : [];
  c.header(IGNORED_FIELDS_HEADER, [...ignored.slice(0, MAX_NAMES), ...more].join(", "));
}
