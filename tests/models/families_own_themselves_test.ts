/**
 * A family is one file and one line of the registry: each file stays small, and no other code of the
 * product names a family.
 */
import { assert, assertEquals } from "@std/assert";
import { KNOWN_MODEL_TYPES, TEXT_PART_MODEL_TYPES } from "../../models/registry.ts";

const ROOT = new URL("../../", import.meta.url);
/** Most lines of a family's file: about a hundred, as the formatter breaks them. */
const MAX_LINES = 120;
/**
 * What names families as data: contents of published config.json files, a file format's own names,
 * and notations of calls, which are called after the family that made them common.
 */
const DATA = [
  "src/plan/presets.ts",
  "src/weights/gguf/",
  "src/tools/",
  "src/core/tool_format_names.ts",
];
const REGISTRY = "models/registry.ts";

function* sourceFiles(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (isDirectory) yield* sourceFiles(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield `${folder}${name}`;
  }
}

function textOf(file: string): string {
  return Deno.readTextFileSync(new URL(file, ROOT));
}

/** The file of each family, by `model_type`: where the registry's value is imported from. */
function fileOf(modelType: string): string {
  const [, value] = new RegExp(`\\["${modelType}", (\\w+)\\]`).exec(textOf(REGISTRY))!;
  const [, file] = new RegExp(`import \\{[^}]*\\b${value}\\b[^}]*\\} from "\\./(\\w+\\.ts)"`)
    .exec(textOf(REGISTRY))!;
  return `models/${file}`;
}

Deno.test("a family's file has about a hundred lines at most", () => {
  for (const modelType of KNOWN_MODEL_TYPES) {
    const numLines = textOf(fileOf(modelType)).split("\n").length;
    assert(numLines <= MAX_LINES, `${modelType} takes ${numLines} lines`);
  }
});

Deno.test("the registry and a family's own file alone name it in code", () => {
  const files = [
    "main.ts",
    ...["src/", "models/", "kernels/"].flatMap((at) => [...sourceFiles(at)]),
  ];
  for (const modelType of KNOWN_MODEL_TYPES) {
    const naming = files.filter((file) => new RegExp(`\\b${modelType}\\b`).test(codeOf(file)));
    const allowed = [REGISTRY, fileOf(modelType), ...DATA];
    const others = naming.filter((file) => !allowed.some((place) => file.startsWith(place)));
    assertEquals(others, [], modelType);
  }
});

Deno.test("the README lists every family, and no other", () => {
  const listed = [...textOf("models/README.md").matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name!);
  assertEquals(listed.sort(), [...KNOWN_MODEL_TYPES].sort());
});

Deno.test("the page of what runs lists every family and every text model, and no other", () => {
  const listed = [...textOf("docs/families.md").matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name!)
    .filter((name) => name !== "model_type");
  assertEquals(listed.sort(), [...KNOWN_MODEL_TYPES, ...TEXT_PART_MODEL_TYPES].sort());
});

/** A file without its comments, and without the name of another server. */
function codeOf(file: string): string {
  const code = textOf(file).replaceAll(/\/\*[^]*?\*\//g, "").replaceAll(/\/\/.*$/gm, "");
  return code.replaceAll("llama.cpp", "");
}
