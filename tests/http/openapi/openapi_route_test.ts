import { createHash } from "node:crypto";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Ajv2020 } from "ajv/dist/2020.js";
import { ENDPOINT_DOCS } from "../../../src/http/openapi/endpoint_docs.ts";
import { CHAT, testServer } from "../server.ts";

// deno-lint-ignore no-explicit-any -- a document of many shapes
type Any = any;

async function documentOf(server = testServer()): Promise<Any> {
  const response = await server.request("/openapi.json");
  assertEquals(response.headers.get("content-type"), "application/json");
  return await response.json();
}

/** Every operation, as `METHOD path`. */
function operationsOf({ paths }: Any): [string, Any][] {
  return Object.entries<Any>(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map((
      [method, operation],
    ): [string, Any] => [`${method.toUpperCase()} ${path}`, operation])
  );
}

Deno.test("/openapi.json has every route of the app with its access, and no other", async () => {
  const server = testServer();
  const operations = new Map(operationsOf(await documentOf(server)));
  const routes = server.app.routes.filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(\{.*\})?/, "{$1}")}`);
  const missing = [...new Set(routes)].filter((route) =>
    // Second spellings of a route, with /v1 or without it.
    !operations.has(route) && !operations.has(route.replace(" ", " /v1")) &&
    !operations.has(route.replace(" /v1", " "))
  );
  assertEquals(missing, []);
  assertEquals([...operations.keys()].filter((name) => !routes.includes(name)), []);
  // Each is described, and nothing is described that is not there.
  assertEquals([...operations.keys()].filter((name) => !ENDPOINT_DOCS.has(name)), []);
  assertEquals([...ENDPOINT_DOCS.keys()].filter((name) => !operations.has(name)), []);
  assertEquals(operations.get("GET /health").security, undefined);
  assertEquals(operations.get("GET /admin/kv/log").security.length, 2);
});

Deno.test("a body's schema says what its route asks for", async () => {
  const server = testServer();
  for (const [name, operation] of operationsOf(await documentOf(server))) {
    const schema = operation.requestBody?.content["application/json"].schema;
    if (schema === undefined) continue;
    const [, path = ""] = name.split(" ");
    const validate = new Ajv2020({ strict: false }).compile(schema);
    const required: string[] = schema.required ?? [];
    const response = await server.post(path, {});
    const { status } = response;
    const message = JSON.stringify(await response.json());
    if (required.length === 0) continue;
    assertEquals(status, 400, name);
    assert(
      required.some((field) => message.includes(`${field} is required`)),
      `${name} ${message}`,
    );
    // A field of a wrong type is refused by both.
    const [field] = required;
    assert(!validate({ [field!]: false }));
    assertEquals((await server.post(path, { [field!]: false })).status, 400, name);
  }
});

Deno.test("the schema of a chat takes what the route takes", async () => {
  const document = await documentOf();
  const { schema } = document.paths["/v1/chat/completions"].post.requestBody
    .content["application/json"];
  const validate = new Ajv2020({ strict: false }).compile(schema);
  assert(validate({ ...CHAT, temperature: null, stop: ["a"], unknown: 1 }));
  const bad = [{}, { ...CHAT, temperature: 3 }, { ...CHAT, n: 0 }, { messages: [] }, {
    messages: [{ role: "robot", content: "x" }],
  }];
  for (const body of bad) assert(!validate(body), JSON.stringify(body));
});

Deno.test("/ leads to /docs, also for those who only ask whether anyone is there", async () => {
  for (const method of ["GET", "HEAD"]) {
    const response = await testServer().request("/", { method });
    assertEquals([response.status, response.headers.get("location")], [302, "/docs"]);
  }
});

Deno.test("/docs is a page of its own, whose policy allows its own script and style alone", async () => {
  const response = await testServer().request("/docs");
  const html = await response.text();
  assertEquals(response.headers.get("content-type"), "text/html; charset=UTF-8");
  const policy = response.headers.get("content-security-policy")!;
  for (const [tag, directive] of [["script", "script-src"], ["style", "style-src"]]) {
    const [, text] = new RegExp(`<${tag}>(.*?)</${tag}>`, "s").exec(html)!;
    const hash = createHash("sha256").update(text!).digest("base64");
    assertStringIncludes(policy, `${directive} 'sha256-${hash}'`);
  }
  assert(!/https?:\/\//.test(html), "it refers to another place");
  assert(!/innerHTML|insertAdjacent|document\.write/.test(html), "text could become markup");
});

/** The part of a DOM that the page's script uses. */
class FakeElement {
  textContent = "";
  className = "";
  readonly children: FakeElement[] = [];

  constructor(readonly name: string) {}

  append(...children: FakeElement[]): void {
    for (const child of children) assert(child instanceof FakeElement, "text is appended as such");
    this.children.push(...children);
  }

  get text(): string {
    return [this.textContent, ...this.children.map(({ text }) => text)].join(" ");
  }

  all(name: string): FakeElement[] {
    const own = this.name === name ? [this] : [];
    return [...own, ...this.children.flatMap((child) => child.all(name))];
  }
}

Deno.test("the page shows every operation, with its fields and a command to try", async () => {
  const api = await documentOf();
  const html = await (await testServer().request("/docs")).text();
  const [, script] = /<script>(.*?)<\/script>/s.exec(html)!;
  const body = new FakeElement("body");
  const document = {
    body,
    createElement: (name: string) => new FakeElement(name),
    querySelector: () => new FakeElement("span"),
  };
  const fetch = () => Promise.resolve({ json: () => Promise.resolve(api) });
  const run = new Function("document", "fetch", "location", `return (async () => {${script}})()`);
  await run(document, fetch, { origin: "http://localhost:8000" });
  for (let i = 0; i < 20; i++) await Promise.resolve();
  assertEquals(body.all("details").length, operationsOf(api).length);
  const chat = body.all("details").find(({ text }) => text.includes("/v1/chat/completions"))!;
  assertStringIncludes(chat.text, "curl -X POST http://localhost:8000/v1/chat/completions");
  const row = chat.all("tr").find(({ text }) => text.includes("temperature"))!;
  assertEquals(row.all("td").map(({ textContent }) => textContent), ["", "number", "from 0 to 2"]);
  assert(!body.text.includes("undefined") && !body.text.includes("[object O"), body.text);
});
