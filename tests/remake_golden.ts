/**
 * `deno task golden [NAME ...]`: makes the golden files anew, each by its script, and says for each
 * whether it has changed, or what it needs that is not there. `--check` writes none.
 *
 *     qwen3_golden           python3 with numpy 2
 *     families_golden        python3 with numpy and torch 2
 *     chat_template_digests  python3 with Jinja2 3.1.6, and real chat templates in ../shared/data
 *     demo_eval              python3
 *     demo_golden            python3 with numpy and torch 2; the prompts are kept, all else is made anew
 *     gguf_blocks            the folder where npm has installed @node-llama-cpp/linux-x64@3.22.1, which
 *                            the variable QUIRE_LLAMA_CPP names
 *
 * Exits with 1 where a file named cannot be made, or where `--check` finds that one would change.
 */
// deno-lint-ignore-file no-console -- this is a command line program

const ROOT = new URL("../", import.meta.url).pathname;
const HERE = `${ROOT}tests/golden`;
const DEMO = `${ROOT}models/demo`;
const LLAMA_CPP = Deno.env.get("QUIRE_LLAMA_CPP") ?? "that QUIRE_LLAMA_CPP would name";
const LIBGGML = "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-base.so";
const TEMPLATES = `${ROOT}../shared/data/chat-templates`;

/** A golden file, and how it is made. */
interface Golden {
  readonly name: string;
  /** Python packages that its script imports. */
  readonly packages: readonly string[];
  /** A directory that it reads beside the checkout. */
  readonly directory?: string;
  readonly make: () => Promise<string>;
}

const GOLDEN: readonly Golden[] = [
  {
    name: "qwen3_golden",
    packages: ["numpy"],
    make: () => run("python3", [`${HERE}/qwen3_golden.py`]),
  },
  {
    name: "families_golden",
    packages: ["numpy", "torch"],
    make: () => run("python3", [`${HERE}/families.py`]),
  },
  {
    name: "chat_template_digests",
    packages: ["jinja2"],
    directory: TEMPLATES,
    make: () => run("python3", [`${HERE}/chat_template_digests.py`, TEMPLATES]),
  },
  { name: "demo_eval", packages: [], make: () => run("python3", [`${HERE}/demo_eval.py`]) },
  { name: "demo_golden", packages: ["numpy", "torch"], make: makeDemoGolden },
  {
    name: "gguf_blocks",
    packages: [],
    directory: LLAMA_CPP,
    make: () =>
      run(Deno.execPath(), ["run", "-A", `${HERE}/gguf_blocks.ts`, `${LLAMA_CPP}/${LIBGGML}`]),
  },
];

/** What a command prints; it must end well. Its errors are shown as they are. */
async function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const { success, stdout } = await new Deno.Command(command, {
    args: [...args],
    env,
    cwd: ROOT,
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")} failed`);
  return new TextDecoder().decode(stdout);
}

/**
 * Encodes the prompts of the present file with `verify.mjs`, and continues them with `verify.py`.
 */
async function makeDemoGolden(): Promise<string> {
  const out = await Deno.makeTempDir({ prefix: "quire_golden_" });
  try {
    for (const { name } of Deno.readDirSync(DEMO)) {
      await Deno.symlink(`${DEMO}/${name}`, `${out}/${name}`);
    }
    const { prompts } = JSON.parse(Deno.readTextFileSync(`${HERE}/demo_golden.json`));
    const kept = (prompts as Record<string, unknown>[])
      .map(({ id, type, text, messages }) => ({ id, type, text, messages }));
    await Deno.writeTextFile(`${out}/prompts.json`, JSON.stringify(kept));
    const files = [`${out}/prompts.json`, `${out}/prompt_ids.json`];
    await run(Deno.execPath(), ["run", "-A", `${DEMO}/verify.mjs`, ...files], { DEMO_OUT: out });
    await run("python3", [`${DEMO}/verify.py`, files[1]!], { DEMO_OUT: out });
    return await Deno.readTextFile(`${out}/golden.json`);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

/** What is missing for a file, or undefined. */
async function missingFor({ packages, directory }: Golden): Promise<string | undefined> {
  if (!await succeeds("python3", ["--version"])) return "python3";
  for (const name of packages) {
    if (!await succeeds("python3", ["-c", `import ${name}`])) return `the Python package ${name}`;
  }
  const isThere = directory === undefined ||
    await Deno.stat(directory).then(() => true, () => false);
  return isThere ? undefined : `the directory ${directory}`;
}

async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  const stdio = { stdout: "null", stderr: "null" } as const;
  try {
    return (await new Deno.Command(command, { args: [...args], ...stdio }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Makes one file anew; returns whether that could be done, and with `isCheck` whether it is
 * unchanged.
 */
async function remake(golden: Golden, isCheck: boolean): Promise<boolean> {
  const path = `${HERE}/${golden.name}.json`;
  const missing = await missingFor(golden);
  if (missing !== undefined) {
    console.log(`${golden.name}: kept, it needs ${missing}`);
    return false;
  }
  const made = await golden.make();
  const isSame = made === Deno.readTextFileSync(path);
  if (!isSame && !isCheck) await Deno.writeTextFile(path, made);
  console.log(`${golden.name}: ${isSame ? "the same" : isCheck ? "would change" : "changed"}`);
  return isSame || !isCheck;
}

async function main(args: readonly string[]): Promise<boolean> {
  const names = args.filter((arg) => !arg.startsWith("-"));
  const unknown = names.find((name) => !GOLDEN.some((golden) => golden.name === name));
  if (unknown !== undefined) {
    console.error(`No golden file ${unknown}: ${GOLDEN.map(({ name }) => name).join(", ")}`);
    return false;
  }
  const chosen = GOLDEN.filter(({ name }) => names.length === 0 || names.includes(name));
  let isDone = true;
  for (const golden of chosen) isDone = await remake(golden, args.includes("--check")) && isDone;
  return isDone;
}

if (import.meta.main) Deno.exit(await main(Deno.args) ? 0 : 1);
