import { STATUS_CODE } from "@std/http";
import type { Handler } from "hono";
import { RequestError } from "../core/errors.ts";
import type { Services } from "./services.ts";

/**
 * `GET /`: the window for browsers; a client that does not ask for HTML is led to the API's page.
 */
export function indexRoute(services: Services): Handler {
  const window = windowRoute(services);
  return (c, next) => {
    if (c.req.header("accept")?.includes("text/html") ?? false) return window(c, next);
    c.header("vary", "accept");
    return c.redirect("/docs");
  };
}

/** `GET /window/...`: the files of the window. */
export function windowRoute({ window }: Services): Handler {
  return (c) => {
    const answer = window(c.req.raw);
    if (answer !== undefined) return answer;
    const message = `The window has no file ${c.req.path.slice(0, 200)}`;
    throw new RequestError(message, { status: STATUS_CODE.NotFound, code: "not_found" });
  };
}
