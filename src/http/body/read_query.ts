import type { Context } from "hono";
import type { z } from "zod";
import { RequestError } from "../../core/errors.ts";
import { describeIssue } from "./describe_issue.ts";

/**
 * Reads the query of a request's URL by `schema`, whose numbers are coerced from texts.
 *
 * @throws {RequestError} 400 naming the parameter, its limit and its value.
 */
export function readQuery<S extends z.ZodType>(c: Context, schema: S): z.output<S> {
  const query = c.req.query();
  const result = schema.safeParse(query);
  if (result.success) return result.data;
  const { param, message, code } = describeIssue(result.error.issues[0]!, query);
  throw new RequestError(message, { param, code });
}
