import { STATUS_CODE } from "@std/http";
import type { Context } from "hono";
import type { z } from "zod";
import { RequestError } from "../../core/errors.ts";
import { describeIssue } from "./describe_issue.ts";
import { tellIgnoredFields } from "../fields/ignored_fields.ts";
import { quoted } from "../refusals.ts";
import { readBodyText } from "./request_body.ts";
import { refuseUnsupported, type UnsupportedFields } from "../fields/unsupported_fields.ts";

/** What curl says of a body unless it is told otherwise. */
const FORM_TYPE = "application/x-www-form-urlencoded";

/** Which bodies an endpoint takes. */
export interface ReadOptions {
  /** Whether JSON may come under curl's own media type, as that API's documentation sends it. */
  readonly takesForms?: boolean;
}

/**
 * Reads a request's body as JSON and checks it against `schema`; the answer's header names the
 * fields that are in neither `schema` nor `unsupported`.
 *
 * @throws {RequestError} 415 for another content type (none at all counts as JSON), 400 for a body
 * that is not JSON, asks for a feature listed in `unsupported`, or breaks the schema; the message
 * names field, limit and value. Also the errors of {@link readBodyText}.
 */
export async function readJson<S extends z.ZodType>(
  c: Context,
  schema: S,
  unsupported: UnsupportedFields = new Map(),
  { takesForms = false }: ReadOptions = {},
): Promise<z.output<S>> {
  requireJsonType(c.req.header("content-type"), takesForms);
  const body = parseJson(await readBodyText(c));
  if (typeof body === "object" && body !== null) {
    refuseUnsupported(body as Readonly<Record<string, unknown>>, unsupported);
  }
  const result = schema.safeParse(body);
  if (result.success) {
    tellIgnoredFields(c, body, schema, unsupported);
    return result.data;
  }
  const { param, message, code } = describeIssue(result.error.issues[0]!, body);
  throw new RequestError(message, { param: param === "" ? null : param, code });
}

/** What pages of foreign origins send is refused before, by their Origin. */
function requireJsonType(header: string | undefined, takesForms: boolean): void {
  const type = header?.replace(/;.*$/s, "").trim().toLowerCase() ?? "";
  if (takesForms && type === FORM_TYPE) return;
  if (type === "" || /^application\/([\w.-]+\+)?json$/.test(type)) return;
  const got = quoted(type, 100);
  throw new RequestError(`The content type must be application/json, got ${got}`, {
    status: STATUS_CODE.UnsupportedMediaType,
    code: "unsupported_media_type",
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RequestError(`The body is not JSON: ${messageOf(cause)}`, { code: "invalid_json" });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
