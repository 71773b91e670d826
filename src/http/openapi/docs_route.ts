import { createHash } from "node:crypto";
import type { Handler } from "hono";
import { DOCS_PAGE, DOCS_SCRIPT, DOCS_STYLE } from "./docs_page.ts";

/** The page's own script and style, and the document that it shows: nothing else. */
const POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(DOCS_SCRIPT)}`,
  `style-src ${hashOf(DOCS_STYLE)}`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** `GET /docs`: the API as a page. */
export function docsRoute(): Handler {
  return (c) => {
    c.header("content-security-policy", POLICY);
    c.header("x-content-type-options", "nosniff");
    return c.html(DOCS_PAGE);
  };
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
