import { assert, assertEquals } from "@std/assert";
import { matrixTilesOf } from "../../kernels/tuning/matrix_tuning.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { parseModel, readModel } from "../../models/registry.ts";
import { ARGS_BINDING, argsWgsl, type Kernel } from "../../src/device/kernel.ts";
import { NVIDIA } from "../support/matrix_units.ts";
import { configJson } from "../models/config_fixtures.ts";
import { modelGraph } from "../support/model_graph.ts";

const KERNELS_FOLDER = new URL("../../kernels/", import.meta.url);

/** A file below `kernels/`: its folder, and its name with and without `.wgsl` or `.ts`. */
interface KernelFile {
  readonly folder: URL;
  readonly name: string;
  readonly stem: string;
}

function* filesIn(folder: URL, extension: string): Generator<KernelFile> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* filesIn(new URL(`${name}/`, folder), extension);
    else if (name.endsWith(extension)) yield { folder, name, stem: name.replace(extension, "") };
  }
}

/** The kernels that a folder's modules export, by name. */
async function kernelsIn(folder: URL): Promise<Map<string, Kernel<never>>> {
  const kernels = new Map();
  for (const { folder: room, name } of filesIn(folder, ".ts")) {
    const module = await import(new URL(name, room).href);
    for (const value of Object.values<Record<string, unknown>>(module)) {
      if (typeof value === "object" && value !== null && "reference" in value) {
        kernels.set(value.name, value);
      }
    }
  }
  return kernels;
}

const KERNELS = await kernelsIn(KERNELS_FOLDER);
const WGSL_FILES = [...filesIn(KERNELS_FOLDER, ".wgsl")];
/** Files whose names begin with an underscore are fragments, which kernels share. */
const FRAGMENTS = WGSL_FILES.filter(({ stem }) => stem.startsWith("_"));
const KERNEL_FILES = WGSL_FILES.filter(({ stem }) => !stem.startsWith("_"));
const README = Deno.readTextFileSync(new URL("README.md", KERNELS_FOLDER));

function textOf({ folder, name }: KernelFile): string {
  return Deno.readTextFileSync(new URL(name, folder));
}

function isFile(path: URL): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

Deno.test("every WGSL file that is no fragment has a definition in its folder, and the reverse", async () => {
  for (const { folder, stem } of KERNEL_FILES) {
    const kernel = (await kernelsIn(folder)).get(stem);
    assert(kernel, `no module beside ${stem}.wgsl exports a Kernel named ${stem}`);
    assertEquals(typeof kernel.reference, "function", stem);
  }
  assertEquals([...KERNELS.keys()].sort(), KERNEL_FILES.map(({ stem }) => stem).sort());
});

Deno.test("every kernel's header names the file of its definition and its tolerance", () => {
  for (const file of KERNEL_FILES) {
    const [, definition, bound] = /^\/\/ Reference: (\w+\.ts); (.+)$/m.exec(textOf(file)) ?? [];
    assert(bound, `${file.name} has no line "// Reference: FILE.ts; TOLERANCE"`);
    assert(isFile(new URL(definition!, file.folder)), `${file.name}: there is no ${definition}`);
  }
});

Deno.test("every kernel has one row, with its bound, in the table of kernels/README.md", () => {
  const rows = [...README.matchAll(/^\| `(\w+)` +\| ([^|]*\S) +\| ([^|]*\S) +\|$/gm)];
  assertEquals(rows.map(([, name]) => name).sort(), KERNEL_FILES.map(({ stem }) => stem).sort());
});

Deno.test("every fragment is part of a kernel, and no kernel itself", () => {
  const sources = [...KERNELS.values()].map(({ source }) => source);
  for (const file of FRAGMENTS) {
    const text = textOf(file);
    assert(!text.includes("@compute"), `${file.name} has an entry point: it is a kernel`);
    // A line such as `${joinSlices}` stands for another fragment.
    const pieces = text.split(/^\$\{\w+\}\n/m);
    const isIn = (source: string) => pieces.every((piece) => source.includes(piece));
    assert(sources.some(isIn), `no kernel includes ${file.name}`);
  }
});

Deno.test("every kernel of a step reads the step's metadata by name", () => {
  const others = [...KERNELS.values()].filter(({ source }) =>
    !source.includes("const STEP_NUM_TOKENS")
  );
  assertEquals(others.map(({ name }) => name), ["panel_weights"]);
});

Deno.test("every kernel declares the arguments of its contract, and reads no others", () => {
  for (const { name, source, args = [], bindings } of KERNELS.values()) {
    const declared = args.length === 0 || source.includes(argsWgsl(args));
    assert(declared, `${name} does not declare its arguments`);
    const read = new Set([...source.matchAll(/\bargs\.(\w+)/g)].map(([, member]) => member));
    assertEquals([...read].filter((member) => !args.some((arg) => arg === member)), [], name);
    assert(bindings.length <= ARGS_BINDING, `${name} has ${bindings.length} buffers`);
  }
});

for (const { name, source, bindings } of KERNELS.values()) {
  Deno.test(`${name}: WGSL and contract agree on entry point and bindings`, () => {
    const declared = new Map<number, { name: string; access: string }>();
    const declaration = /@binding\((\d+)\) var<storage, (read|read_write)> (\w+)/g;
    for (const [, index, access, variable] of source.matchAll(declaration)) {
      declared.set(Number(index), { name: variable!, access: access! });
    }
    const image = /@binding\((\d+)\) var (\w+): texture_storage_2d<rgba32uint, (read|write)>/g;
    for (const [, index, variable, access] of source.matchAll(image)) {
      const form = { name: variable!, access: access === "read" ? "read" : "read_write" };
      assertEquals(declared.get(Number(index)) ?? form, form);
      declared.set(Number(index), form);
    }
    assertEquals([...declared.keys()], bindings.map((_, i) => i));
    assertEquals([...declared.values()], bindings.map(({ name, access }) => ({ name, access })));
    assertEquals([...source.matchAll(/@compute[^]*?fn (\w+)/g)].map(([, entry]) => entry), [name]);
  });
}

/** The kernels that a dense model's graph and one's with experts call under these tunings. */
function kernelsOf(tunings: readonly Tuning[]): Set<string> {
  const experts = { model_type: "qwen3_moe", num_experts: 8, num_hidden_layers: 1 };
  const models = [
    readModel(new URL("../../models/demo", import.meta.url).pathname),
    parseModel(configJson(experts)),
  ];
  const names = new Set<string>();
  for (const tuning of tunings) {
    for (const dtype of ["f16", "int8g32"] as const) {
      const calls = models.flatMap((model) => modelGraph(model, { dtype, tuning }));
      for (const { kernelName } of calls) names.add(kernelName);
    }
  }
  return names;
}

Deno.test("kernels that GPUs alone run are marked while no result of a GPU is kept", () => {
  const matrixTiles = matrixTilesOf(NVIDIA);
  const variants = (tuning: Tuning) => [
    ...[tuning, { ...tuning, usesW8a8: true }, { ...tuning, isDeterministic: true }],
  ];
  const everywhere = kernelsOf(variants(SOFTWARE_TUNING));
  const onGpus = kernelsOf(variants({ ...GPU_TUNING, matrixTiles }));
  const gpuOnly = [...onGpus].filter((name) => !everywhere.has(name)).sort();
  const [, section] = /## What no GPU has run([^]*?)\n## /.exec(README)!;
  const marked = [...section!.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name!).sort();
  const results = [...Deno.readDirSync(new URL("../../bench/results/", import.meta.url))];
  if (results.every(({ name }) => name.includes("llvmpipe"))) assertEquals(marked, gpuOnly);
  else assertEquals(marked.filter((name) => !gpuOnly.includes(name)), []);
});

Deno.test("comments of kernels wrap at 100 columns", () => {
  const files = [...WGSL_FILES, ...filesIn(KERNELS_FOLDER, ".ts")];
  const long = files.flatMap((file) =>
    textOf(file).split("\n")
      .filter((line) => line.length > 100 && /^\s*(\/\/[^#]|\/\*\*|\*)/.test(line))
      .map((line) => `${file.name}: ${line}`)
  );
  assertEquals(long, []);
});
