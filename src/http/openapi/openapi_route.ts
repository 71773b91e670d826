import type { Handler } from "hono";
import { z } from "zod";
import type { Access } from "../access/access.ts";
import { ENDPOINT_DOCS, type EndpointDoc } from "./endpoint_docs.ts";

/** What of a route the document tells. */
export type DocumentedRoute = readonly [method: string, path: string, Access, ...unknown[]];

const JSON_TYPE = "application/json";

/** Who may call, as the document's security requirements and in words. */
const SECURITY: Readonly<Record<Access, { readonly who: string; readonly security: object[] }>> = {
  public: { who: "Everyone.", security: [] },
  key: {
    who: "Holders of an API key, where the server asks for one.",
    security: [{ bearer: [] }, { apiKey: [] }],
  },
  admin: {
    who: "Holders of an admin key; on a loopback address without keys, everyone.",
    security: [{ bearer: [] }, { apiKey: [] }],
  },
};

const ERROR_SCHEMA = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["message", "type", "param", "code"],
      properties: {
        message: { type: "string", description: "Names field, limit and value." },
        type: { type: "string" },
        param: { type: ["string", "null"], description: "Dotted path of the field." },
        code: { type: ["string", "null"] },
      },
    },
  },
};

/**
 * The OpenAPI document of a table of routes (version 3.1.0). The schemas of bodies are those that
 * the routes read them with.
 */
export function openApiDocument(routes: readonly DocumentedRoute[], version: string) {
  const paths: Record<string, Record<string, object>> = {};
  for (const [method, path, access] of routes) {
    const place = path.replace(/:(\w+)(\{.*\})?/g, "{$1}");
    const doc = ENDPOINT_DOCS.get(`${method} ${place}`);
    const operations = paths[place] ??= {};
    operations[method.toLowerCase()] = operationOf(place, access, doc);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Quire",
      version,
      description:
        "An inference server for language models. Paths below /v1 answer without it, too.",
    },
    paths,
    components: {
      schemas: { Error: ERROR_SCHEMA },
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        apiKey: { type: "apiKey", in: "header", name: "x-api-key" },
      },
    },
  };
}

/** A route without a doc is described by its path alone. */
function operationOf(path: string, access: Access, doc: EndpointDoc | undefined) {
  const { summary = path, tag = "Others", body, stream, answer = JSON_TYPE } = doc ?? {};
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const parameters = names.map((name) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const types = [answer, ...(stream === undefined ? [] : [stream])];
  const { who, security } = SECURITY[access];
  return {
    summary,
    description: who,
    tags: [tag],
    ...(security.length === 0 ? {} : { security }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : {
      requestBody: { required: true, content: { [JSON_TYPE]: { schema: schemaOf(body) } } },
    }),
    responses: {
      200: {
        description: "The answer",
        content: Object.fromEntries(types.map((type) => [type, {}])),
      },
      default: {
        description: "A refusal, or a failure of the server",
        content: { [JSON_TYPE]: { schema: { $ref: "#/components/schemas/Error" } } },
      },
    },
  };
}

/** Lists of bounded length are checked in two steps, of which the second knows the elements. */
function schemaOf(body: z.ZodType): object {
  const { $schema: _, ...schema } = z.toJSONSchema(body, { io: "output", unrepresentable: "any" });
  return schema;
}

/** `GET /openapi.json`, made when it is first asked for. */
export function openApiRoute(routes: () => readonly DocumentedRoute[], version: string): Handler {
  let text: string | undefined;
  return (c) => {
    text ??= JSON.stringify(openApiDocument(routes(), version));
    return c.body(text, 200, { "content-type": JSON_TYPE });
  };
}
