/**
 * `deno task compile [--target NAME ...] [--output PATH]`: builds the binary `quire` of this
 * machine, or with `--target all` those of all platforms, with the demo model, kernels, threads,
 * page and WebAssembly inside. Deno downloads its runtime for each platform once.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";

/** What Deno compiles for. */
export const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
] as const;

/** Modules of threads: no import leads to them. */
export const WORKERS: readonly string[] = [
  "src/engine/worker.ts",
  "src/tokenizer/chat_template_worker.ts",
  "src/tokenizer/tokenizer_worker.ts",
  "src/grammar/compile_worker.ts",
];

/** The bundled model. Kernels and the page are imports, and WebAssembly is within its package. */
export const MODEL_FILES: readonly string[] = [
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
].map((name) => `models/demo/${name}`);

/** What the binary may do: its flags name any address and path. */
export const PERMISSIONS: readonly string[] = [
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env=QUIRE_*,HOME,XDG_STATE_HOME,LOCALAPPDATA,XDG_RUNTIME_DIR,DENO_WEBGPU_BACKEND,HF_*," +
  "USERPROFILE,XDG_CACHE_HOME,TRANSFORMERS_OFFLINE,HUGGING_FACE_HUB_TOKEN,HUGGINGFACE_HUB_CACHE," +
  "NO_COLOR",
  "--allow-sys=systemMemoryInfo,statfs",
];

/**
 * Folders of packages that stay out. Deno 2.9 reads every file of a package as a module, those
 * without an ending as well; a list of 100,000 numbers with signs is one expression to it, so deep
 * that its stack overflows.
 */
const LEFT_OUT: readonly (readonly [name: string, folder: string])[] = [["bintrees", "test"]];

/** What is built. */
export interface Build {
  /** Of {@link TARGETS}; this machine's if absent. */
  readonly target?: string;
  readonly output: string;
}

/** Deno's command line for one binary; `leftOut` are paths, as {@link leftOutOf} finds them. */
export function compileArgs({ target, output }: Build, leftOut: readonly string[]): string[] {
  return [
    "compile",
    ...["--no-check", "--exclude-unused-npm", ...PERMISSIONS],
    ...[...WORKERS, ...MODEL_FILES].flatMap((path) => ["--include", path]),
    ...leftOut.flatMap((path) => ["--exclude", path]),
    ...(target === undefined ? [] : ["--target", target]),
    ...["--output", output, "main.ts"],
  ];
}

/** Folders that stay out, in Deno's cache of packages: `REGISTRY/NAME/VERSION/FOLDER`. */
export function leftOutOf(npmCache: string): string[] {
  const foldersIn = (path: string) =>
    [...Deno.readDirSync(path)].filter(({ isDirectory }) => isDirectory)
      .map(({ name }) => `${path}/${name}`);
  const paths = foldersIn(npmCache).flatMap((registry) =>
    LEFT_OUT.flatMap(([name, folder]) =>
      isDirectory(`${registry}/${name}`)
        ? foldersIn(`${registry}/${name}`).map((version) => `${version}/${folder}`)
        : []
    )
  );
  return paths.filter(isDirectory);
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** The builds that a command line asks for. @throws {RangeError} for a target that there is not. */
export function buildsOf(targets: readonly string[], output = "quire"): Build[] {
  if (targets.length === 0) return [{ output }];
  const chosen = targets.includes("all") ? TARGETS : targets;
  return chosen.map((target) => {
    if (!TARGETS.some((name) => name === target)) {
      throw new RangeError(`No target ${target}; there are: all, ${TARGETS.join(", ")}`);
    }
    return { target, output: `${output}-${target}` };
  });
}

/** Runs Deno, and ends with it where it fails; what it prints, where that is asked for. */
async function deno(args: readonly string[], stdout: "piped" | "inherit" = "inherit") {
  const child = new Deno.Command(Deno.execPath(), { args: [...args], stdout }).spawn();
  const text = stdout === "piped" ? await new Response(child.stdout).text() : "";
  if (!(await child.status).success) Deno.exit(1);
  return text;
}

async function main(): Promise<void> {
  const { values: { target = [], output } } = parseArgs({
    args: Deno.args,
    options: { target: { type: "string", multiple: true }, output: { type: "string" } },
  });
  const builds = buildsOf(target, output);
  // Packages must be there before what stays out of them can be found.
  await deno(["install", "--quiet", "--entrypoint", "main.ts"]);
  const { npmCache } = JSON.parse(await deno(["info", "--json"], "piped")) as { npmCache: string };
  for (const build of builds) await deno(compileArgs(build, leftOutOf(npmCache)));
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.error(`error: ${error.message}`);
    Deno.exit(1);
  }
}
