/** The page's own style. */
export const DOCS_STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; border-bottom: 1px solid var(--line); }
details { border-bottom: 1px solid var(--line); padding: .4rem 0; }
summary { cursor: pointer; } summary code { margin-right: .6rem; }
.method { display: inline-block; width: 4.5rem; font-weight: 600; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: .3rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; }
.muted { opacity: .7; }
`;

/** Reads the document and shows it; all text goes in as text, never as markup. */
export const DOCS_SCRIPT = `
const make = (name, text = "", ...children) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};
const typeOf = (schema) => {
  if (!schema || Object.keys(schema).length === 0) return "any";
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return [...new Set(several.map(typeOf))].filter((type) => type !== "").join(" | ");
  if (schema.type === "array") return "[" + typeOf(schema.items) + "]";
  return [schema.type ?? "any"].flat().filter((type) => type !== "null").join(" | ");
};
const boundsOf = (schema) => {
  const own = schema.anyOf ? schema.anyOf.find(({ type }) => type !== "null") ?? {} : schema;
  const parts = [];
  if (own.minimum > Number.MIN_SAFE_INTEGER) parts.push("from " + own.minimum);
  if (own.maximum < Number.MAX_SAFE_INTEGER) parts.push("to " + own.maximum);
  if (own.maxItems !== undefined) parts.push("up to " + own.maxItems + " elements");
  if (own.maxLength !== undefined) parts.push("up to " + own.maxLength + " characters");
  return parts.join(" ");
};
const fieldsOf = (schema) => {
  const table = make("table", "", make("tr", "", make("th", "Field"), make("th", "Type"), make("th")));
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const required = (schema.required ?? []).includes(name) ? "required " : "";
    const cells = [make("td", "", make("code", name)), make("td", typeOf(field))];
    table.append(make("tr", "", ...cells, make("td", required + boundsOf(field))));
  }
  return table;
};
const exampleOf = (schema) => {
  const body = {};
  for (const name of schema.required ?? []) {
    body[name] = name === "messages" ? [{ role: "user", content: "Hello!" }] : "...";
  }
  return JSON.stringify(body);
};
const curlOf = (method, path, operation, schema) => [
  "curl " + (method === "get" ? "" : "-X " + method.toUpperCase() + " ") + location.origin + path,
  ...(operation.security ? ["-H 'authorization: Bearer YOUR_API_KEY'"] : []),
  ...(schema ? ["-H 'content-type: application/json'", "-d '" + exampleOf(schema) + "'"] : []),
].join(" \\\\\\n  ");
const show = async () => {
  const api = await (await fetch("openapi.json")).json();
  document.querySelector("#version").textContent = "version " + api.info.version;
  const tags = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const schema = operation.requestBody?.content["application/json"].schema;
      const verb = make("span", method.toUpperCase());
      verb.className = "method";
      const head = make("summary", "", verb, make("code", path), make("span", operation.summary));
      const who = make("p", operation.description);
      who.className = "muted";
      const box = make("details", "", head, who, make("pre", curlOf(method, path, operation, schema)));
      if (schema?.properties) box.append(fieldsOf(schema));
      const [tag] = operation.tags;
      tags.set(tag, [...tags.get(tag) ?? [], box]);
    }
  }
  for (const [tag, boxes] of tags) document.body.append(make("h2", tag), ...boxes);
};
show().catch((error) => document.body.append(make("p", "The document cannot be read: " + error)));
`;

/** The page of the API: nothing of it comes from elsewhere. */
export const DOCS_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Quire: the API</title>
<style>${DOCS_STYLE}</style>
</head>
<body>
<h1>Quire</h1>
<p class="muted"><span id="version"></span> <a href="openapi.json">openapi.json</a></p>
<script>${DOCS_SCRIPT}</script>
</body>
</html>
`;
