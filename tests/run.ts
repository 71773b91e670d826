/**
 * `deno task test`: type-check, lint and formatting, beside them all tests, on a GPU adapter where
 * there is one. `deno task test:quick [ROOM]`: the tests of one room, or of all, with few runs of each
 * property.
 *
 * Without an adapter it installs the software one where it can (Linux, apt-get, root) and says so;
 * elsewhere the tests that need one are skipped, with the reason printed. Set `QUIRE_REQUIRE_GPU`
 * to fail instead. The files that take longest start first; at the end they are named, and what
 * failed is repeated. Other arguments are passed on to `deno test`; paths among them are all that
 * runs.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { existsSync } from "node:fs";
import { relative } from "node:path";
import {
  compilesMost,
  failuresOf,
  fileTimes,
  groupsOf,
  quickFiles,
  slowestFirst,
  type TestEntry,
  testFilesIn,
  testFolderOf,
  writeEntries,
} from "./support/test_files.ts";

/** Files named at the end. */
const NUM_NAMED = 8;

/** Projects of their own: official clients, and a browser, with what they depend on. */
const PROJECTS = ["tests/clients/", "tests/browser/"];

const SOFTWARE_ADAPTER = ["mesa-vulkan-drivers", "libvulkan1"];
const PROBE = "Deno.exit((await navigator.gpu?.requestAdapter()) ? 0 : 1)";

/**
 * Files at a time: more than processors, since some wait for timers or for another process, also
 * once those that compile most have ended.
 */
const NUM_JOBS = Number(Deno.env.get("DENO_JOBS") ?? navigator.hardwareConcurrency + 3);

/** For the software adapter: run kernels on the calling thread, keep compiled ones. */
const ENVIRONMENT: Readonly<Record<string, string>> = {
  XDG_RUNTIME_DIR: Deno.env.get("XDG_RUNTIME_DIR") ?? "/tmp",
  LP_NUM_THREADS: Deno.env.get("LP_NUM_THREADS") ?? "0",
};

/** The allocator's package, and where Debian and others keep it. */
const ALLOCATOR_PACKAGE = "libjemalloc2";
const ALLOCATORS = ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib"]
  .map((folder) => `/usr/${folder}/libjemalloc.so.2`);

/**
 * An allocator in place of glibc's, where it is installed: compilers that make and drop many small
 * objects, LLVM and V8's, take 10 to 15 % less processor time beside it.
 */
function allocator(): Readonly<Record<string, string>> {
  if (Deno.build.os !== "linux" || Deno.env.has("LD_PRELOAD")) return {};
  const path = ALLOCATORS.find((path) => existsSync(path));
  return path === undefined ? {} : { LD_PRELOAD: path };
}

async function run(command: string, args: readonly string[], quiet = false): Promise<boolean> {
  const stdio = quiet ? "null" : "inherit";
  const child = new Deno.Command(command, {
    args: [...args],
    env: ENVIRONMENT,
    stdout: stdio,
    stderr: stdio,
  });
  try {
    return (await child.output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function deno(...args: string[]): Promise<boolean> {
  return run(Deno.execPath(), args);
}

function hasAdapter(): Promise<boolean> {
  return run(Deno.execPath(), ["eval", PROBE], true);
}

/** Installs the software adapter, and its allocator, where that is possible without asking. */
async function installAdapter(): Promise<void> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return;
  if (!await run("apt-get", ["--version"], true)) return;
  console.log(`No GPU adapter: installing ${SOFTWARE_ADAPTER.join(" and ")} with apt-get`);
  await run("apt-get", ["-qq", "update"]);
  const install = ["-qq", "-y", "--no-install-recommends", "install"];
  await run("apt-get", [...install, ...SOFTWARE_ADAPTER]);
  await run("apt-get", [...install, ALLOCATOR_PACKAGE]);
}

async function ensureAdapter(): Promise<boolean> {
  if (await hasAdapter()) return true;
  await installAdapter();
  if (await hasAdapter()) return true;
  console.log(
    `No GPU adapter: tests of WGSL kernels are skipped. On Debian or Ubuntu, as root, ` +
      `"apt-get install ${SOFTWARE_ADAPTER.join(" ")}" gives a software adapter.`,
  );
  return !Deno.env.has("QUIRE_REQUIRE_GPU");
}

/** A part of the files, and what the process that runs them is told besides. */
interface Part {
  readonly files: readonly string[];
  /** Files at a time. */
  readonly numJobs: number;
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Two processes, since an adapter takes its settings once: one for the files that a software
 * adapter spends most of in its compiler, which then compiles without optimizing.
 */
function partsOf(files: readonly string[]): readonly Part[] {
  const compile = files.filter(compilesMost);
  const other = files.filter((file) => !compilesMost(file));
  if (compile.length === 0) return [{ files: other, numJobs: NUM_JOBS, env: {} }];
  const unoptimized = { files: compile, env: { GALLIVM_PERF: "nopt" } };
  if (other.length === 0) return [{ ...unoptimized, numJobs: NUM_JOBS }];
  const numJobs = Math.max(1, Math.floor(NUM_JOBS / 2));
  return [
    { files: other, numJobs: Math.max(1, NUM_JOBS - numJobs), env: {} },
    { ...unoptimized, numJobs },
  ];
}

/** Runs the tests, shows their output, and repeats at its end what failed, why, and the totals. */
async function test(
  flags: readonly string[],
  files: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<boolean> {
  const parts = await Promise.all(
    partsOf(files).map((part) => testPart(flags, { ...part, env: { ...env, ...part.env } })),
  );
  const outputs = parts.map(({ output }) => output);
  nameSlowest(outputs.join("\n"));
  for (const failure of outputs.flatMap((output) => failuresOf(output))) {
    console.log(`\n${failure}\n`);
  }
  return printTotals(outputs) && parts.every(({ success }) => success);
}

async function testPart(flags: readonly string[], { files, numJobs, env }: Part) {
  const folder = Deno.makeTempDirSync({ prefix: "quire_tests_" });
  try {
    const entries = writeEntries(folder, groupsOf(files));
    const args = ["test", "-A", "--no-check", "--parallel", "--config", "deno.json", ...flags];
    const child = new Deno.Command(Deno.execPath(), {
      args: [...args, ...entries.map(({ path }) => path)],
      env: { ...ENVIRONMENT, ...allocator(), ...env, DENO_JOBS: String(numJobs), NO_COLOR: "1" },
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const output = await show(child.stdout, entries);
    return { output, success: (await child.status).success };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Shows what tests print, with the names of files in place of their entries' paths. */
async function show(
  stdout: ReadableStream<Uint8Array<ArrayBuffer>>,
  entries: readonly TestEntry[],
): Promise<string> {
  const names = new Map(entries.map(({ path, name }) => [relative(".", path), `./${name}`]));
  let output = "";
  const write = (text: string) => {
    const named = text.replaceAll(
      /\S+\/quire_tests_\w+\/\d+\.ts/g,
      (path) => names.get(path) ?? path,
    );
    output += named;
    Deno.stdout.writeSync(new TextEncoder().encode(named));
  };
  let rest = "";
  for await (const text of stdout.pipeThrough(new TextDecoderStream())) {
    rest += text;
    // Whole lines, since the other process writes as well.
    const end = rest.lastIndexOf("\n") + 1;
    write(rest.slice(0, end));
    rest = rest.slice(end);
  }
  write(rest);
  return output;
}

function nameSlowest(output: string): void {
  console.log("Longest files, seconds:");
  for (const { file, seconds } of fileTimes(output).slice(0, NUM_NAMED)) {
    console.log(`${seconds.toFixed(1).padStart(7)}  ${file}`);
  }
}

/** Of the last lines of `deno test`. */
const TOTALS = /^(?:ok|FAILED) \| (\d+) passed.*?\| (\d+) failed(?:.*?\| (\d+) ignored)?/m;

/** Prints the sum of the parts' totals; whether some test of each has passed. */
function printTotals(outputs: readonly string[]): boolean {
  const totals = outputs.map((output) => TOTALS.exec(output.slice(-4096)));
  const [passed, failed, ignored] = [1, 2, 3].map((i) =>
    totals.reduce((sum, total) => sum + Number(total?.[i] ?? 0), 0)
  );
  console.log(`${passed} passed, ${failed} failed${ignored === 0 ? "" : `, ${ignored} skipped`}`);
  return totals.every((total) => Number(total?.[1] ?? 0) > 0);
}

/** Type-checks, lints and checks the formatting of a project. */
async function isTidy(config: readonly string[], files: readonly string[]): Promise<boolean> {
  for (const command of [["check"], ["lint"], ["fmt", "--check"]]) {
    if (!await deno(...command, "-q", ...config, ...files)) return false;
  }
  return true;
}

async function testAll(args: readonly string[]): Promise<boolean> {
  if (!await ensureAdapter()) return false;
  const files = args.some((arg) => !arg.startsWith("-")) ? [] : slowestFirst(testFilesIn("tests"));
  const [areTidy, isPassed] = await Promise.all([areProjectsTidy(), test(args, files)]);
  if (!areTidy) console.log("Type-check, lint or formatting failed: see above");
  return areTidy && isPassed;
}

/** Has one processor's work, which tests go on beside. */
async function areProjectsTidy(): Promise<boolean> {
  if (!await isTidy([], [])) return false;
  for (const folder of PROJECTS) {
    if (!await isTidy(["-c", `${folder}deno.json`], [folder])) return false;
  }
  return true;
}

async function testQuickly(args: readonly string[]): Promise<boolean> {
  const rooms = args.filter((arg) => !arg.startsWith("-"));
  const folders = rooms.length === 0 ? ["tests"] : rooms.map(testFolderOf);
  const { run, leftOut } = quickFiles(slowestFirst(folders.flatMap(testFilesIn)));
  const flags = args.filter((arg) => arg.startsWith("-"));
  const isPassed = await test(flags, run, { QUIRE_TEST_QUICK: "1" });
  if (leftOut.length > 0) console.log(`In the full run only: ${leftOut.join(", ")}`);
  return isPassed;
}

function main([first, ...others]: readonly string[]): Promise<boolean> {
  return first === "--quick" ? testQuickly(others) : testAll(Deno.args);
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args) ? 0 : 1);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
