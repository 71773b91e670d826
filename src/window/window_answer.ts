import { windowFile } from "./window_page.ts";

/**
 * The answer to a request for the window, which needs neither model nor engine: 304 where the
 * browser has the file already.
 *
 * @returns undefined for a path that the window does not have.
 */
export function windowAnswer(request: Request): Response | undefined {
  const file = windowFile(new URL(request.url).pathname);
  if (file === undefined) return undefined;
  const { text, headers } = file;
  if (request.headers.get("if-none-match") === headers["etag"]) {
    return new Response(null, { status: 304, headers });
  }
  return new Response(text, { headers });
}
