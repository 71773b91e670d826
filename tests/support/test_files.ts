/** Which test files there are, in which order they run, how long each took, and what failed. */

/**
 * Files that take longest, about the longest first: they start first, so that none is left over
 * while the other processors are idle, and those that wait for processes or timers beside those that
 * compute.
 */
export const SLOWEST: readonly string[] = [
  "tests/models/deterministic_test.ts",
  "tests/kvcache/group_histories_test.ts",
  "tests/scheduler/scheduler_histories_test.ts",
  "tests/models/families_test.ts",
  "tests/models/experts_test.ts",
  "tests/kernels/paged_attention_test.ts",
  "tests/kernels/matmul_test.ts",
  "tests/kernels/w8a8_product_test.ts",
  "tests/kernels/panel_weights_test.ts",
  "tests/kernels/unsound_kv_test.ts",
  "tests/kernels/experts_test.ts",
  "tests/kernels/sample_tokens_test.ts",
  "tests/e2e/recall_test.ts",
  "tests/e2e/window_test.ts",
  "tests/faults/process_faults_test.ts",
  "tests/e2e/engine_failure_test.ts",
  "tests/faults/isolate_faults_test.ts",
  "tests/bench/quick_demo_test.ts",
  "tests/models/tuned_golden_test.ts",
  "tests/e2e/many_clients_test.ts",
  "tests/engine/replay_histories_test.ts",
  "tests/e2e/permissions_test.ts",
  "tests/models/equivalence_test.ts",
  "tests/e2e/prefix_cache_test.ts",
  "tests/kvcache/block_manager_histories_test.ts",
  "tests/e2e/warm_restart_test.ts",
  "tests/models/quality_test.ts",
  "tests/models/demo_golden_test.ts",
  "tests/e2e/command_line_test.ts",
  "tests/e2e/structured_output_test.ts",
  "tests/tokenizer/encoder_test.ts",
  "tests/models/cut_weights_test.ts",
  "tests/e2e/numeric_edges_test.ts",
  "tests/models/matrix_golden_test.ts",
  "tests/models/weight_quality_test.ts",
  "tests/e2e/elastic_pool_test.ts",
  "tests/e2e/raw_fuzz_test.ts",
  "tests/e2e/clients_test.ts",
  "tests/grammar/schema_suite_test.ts",
  "tests/hub/commands_test.ts",
  "tests/models/overflow_test.ts",
  "tests/tokenizer/text_pool_test.ts",
];

/**
 * Files that compute whole answers of the bundled model again and again or a kernel in all its
 * variants, that start many servers or engines, or that show what a browser shows, which takes most
 * of a room's time: a quick run leaves them out, and says so.
 */
export const FULL_RUN_ONLY: readonly string[] = [
  "tests/e2e/recall_test.ts",
  "tests/e2e/numeric_edges_test.ts",
  "tests/e2e/prefix_cache_test.ts",
  "tests/e2e/engine_failure_test.ts",
  "tests/e2e/warm_restart_test.ts",
  "tests/e2e/elastic_pool_test.ts",
  "tests/e2e/raw_fuzz_test.ts",
  "tests/e2e/window_test.ts",
  "tests/e2e/permissions_test.ts",
  "tests/e2e/command_line_test.ts",
  "tests/e2e/gguf_test.ts",
  "tests/e2e/int8_activations_test.ts",
  "tests/e2e/structured_output_test.ts",
  "tests/e2e/clients_test.ts",
  "tests/e2e/stories260k_test.ts",
  "tests/faults/isolate_faults_test.ts",
  "tests/faults/process_faults_test.ts",
  "tests/bench/quick_demo_test.ts",
  "tests/models/deterministic_test.ts",
  "tests/models/equivalence_test.ts",
  "tests/models/experts_test.ts",
  "tests/models/gpu_families_test.ts",
  "tests/models/swap_test.ts",
  "tests/models/kept_blocks_test.ts",
  "tests/models/decode_steps_test.ts",
  "tests/models/demo_golden_test.ts",
  "tests/models/quality_test.ts",
  "tests/models/families_test.ts",
  "tests/models/tuned_golden_test.ts",
  "tests/models/cut_weights_test.ts",
  "tests/models/overflow_test.ts",
  "tests/models/matrix_golden_test.ts",
  "tests/models/logit_adjustment_test.ts",
  "tests/models/weight_quality_test.ts",
  "tests/tokenizer/text_pool_test.ts",
  "tests/kernels/sample_tokens_test.ts",
  "tests/kernels/matmul_test.ts",
  "tests/kernels/panel_weights_test.ts",
  "tests/kernels/weight_shards_test.ts",
  "tests/kernels/w8a8_product_test.ts",
  "tests/kernels/deterministic_attention_test.ts",
];

/** Rooms whose files start servers, at once or for long. */
const STARTS_SERVERS = /^tests\/(e2e|faults)\//;

/** Most files that share an isolate: so many that it costs little, so few that all end together. */
const MAX_GROUP_SIZE = 16;
/** The same of files that compile kernels. */
const MAX_COMPILING_GROUP_SIZE = 4;

/** Files that compare kernels, or models of random weights, of many shapes on little data. */
const COMPILES_MOST = [
  /^tests\/kernels\//,
  /^tests\/models\/(experts|families|families_gguf|gpu_families|kept_blocks|mxfp4_experts|odd_shapes)_test\.ts$/,
];

/** A file and the sum of its tests' times. */
export interface FileTime {
  readonly file: string;
  readonly seconds: number;
}

/** Paths of all test files at or below the folder `path`, in the order of their names. */
export function testFilesIn(path: string): string[] {
  return [...Deno.readDirSync(path)]
    .sort((a, b) => a.name < b.name ? -1 : 1)
    .flatMap(({ name, isDirectory }) => {
      if (isDirectory) return testFilesIn(`${path}/${name}`);
      return name.endsWith("_test.ts") ? [`${path}/${name}`] : [];
    });
}

/** The same files, those that take longest first. */
export function slowestFirst(files: readonly string[]): string[] {
  const slow = SLOWEST.filter((file) => files.includes(file));
  return [...slow, ...files.filter((file) => !slow.includes(file))];
}

/** Whether a software adapter takes longer to compile a file's kernels than to run them. */
export function compilesMost(file: string): boolean {
  return COMPILES_MOST.some((pattern) => pattern.test(file));
}

/**
 * The files by the isolate that runs them, in order: long ones have one each, short ones share. A
 * new isolate costs 0.3 s of processor time, and as much again to compile what most files import.
 */
export function groupsOf(files: readonly string[]): string[][] {
  const isAlone = (file: string) => SLOWEST.includes(file) || STARTS_SERVERS.test(file);
  const short = files.filter((file) => !isAlone(file));
  return [
    ...files.filter(isAlone).map((file) => [file]),
    ...evenly(short.filter(compilesMost), MAX_COMPILING_GROUP_SIZE),
    ...evenly(short.filter((file) => !compilesMost(file)), MAX_GROUP_SIZE),
  ];
}

function evenly(files: readonly string[], maxSize: number): string[][] {
  const numGroups = Math.ceil(files.length / maxSize);
  const size = Math.ceil(files.length / numGroups);
  return Array.from({ length: numGroups }, (_, i) => files.slice(i * size, (i + 1) * size));
}

/** What runs in one isolate. */
export interface TestEntry {
  /** The module, which imports the files. */
  readonly path: string;
  /** The first file, and how many others. */
  readonly name: string;
}

/** Writes a module per group into `folder`; `deno test` keeps the order of files of one folder. */
export function writeEntries(folder: string, groups: readonly (readonly string[])[]): TestEntry[] {
  return groups.map((files, i) => {
    const path = `${folder}/${String(i).padStart(3, "0")}.ts`;
    const imports = files.map((file) => `import ${JSON.stringify(toFileUrl(file))};\n`);
    Deno.writeTextFileSync(path, imports.join(""));
    return { path, name: files.length === 1 ? files[0]! : `${files[0]}+${files.length - 1}` };
  });
}

function toFileUrl(file: string): string {
  return new URL(`../../${file}`, import.meta.url).href;
}

/** The files of a quick run, and those that it leaves out. */
export function quickFiles(files: readonly string[]): { run: string[]; leftOut: string[] } {
  const leftOut = FULL_RUN_ONLY.filter((file) => files.includes(file));
  return { run: files.filter((file) => !leftOut.includes(file)), leftOut };
}

/**
 * The folder with the tests of a room, which is named as a folder of `tests`, or by its path:
 * `kvcache`, `src/kvcache`, `kernels`.
 *
 * @throws {RangeError} with the rooms that there are.
 */
export function testFolderOf(room: string): string {
  const name = room.replace(/^(?:\.\/)?(?:src\/|tests\/)?/, "").replace(/\/$/, "");
  const folder = `tests/${name}`;
  if (rooms().some((other) => name === other || name.startsWith(`${other}/`))) return folder;
  throw new RangeError(`No room ${room} has tests; these have: ${rooms().join(", ")}`);
}

function rooms(): string[] {
  return [...Deno.readDirSync("tests")].filter(({ name, isDirectory }) =>
    isDirectory && testFilesIn(`tests/${name}`).length > 0
  ).map(({ name }) => name).sort();
}

/**
 * How long each file took, the longest first, as `deno test` prints it: the sum of its tests, each to
 * the second or, below one, to the millisecond. (Its JUnit report names the file that calls `Deno.test`,
 * which for many tests is a helper.)
 */
export function fileTimes(output: string): FileTime[] {
  const seconds = new Map<string, number>();
  let current = "";
  for (const line of output.split("\n")) {
    current = /^running \d+ tests? from \.\/(\S+)/.exec(line)?.[1] ?? current;
    const [, named, time] = /^(?:\.\/(\S+) => )?.* \.\.\. \w+ \(([\dmsµ]+)\)$/.exec(line) ?? [];
    if (time === undefined) continue;
    const file = named ?? current;
    seconds.set(file, (seconds.get(file) ?? 0) + secondsOf(time));
  }
  return [...seconds].map(([file, seconds]) => ({ file, seconds }))
    .sort((a, b) => b.seconds - a.seconds);
}

/** Of a time such as `1m15s`, `3s`, `782ms` or `26µs`. */
function secondsOf(time: string): number {
  const unitSeconds: Record<string, number> = { m: 60, s: 1, ms: 1e-3, "µs": 1e-6 };
  return [...time.matchAll(/(\d+)(ms|µs|m|s)/g)]
    .reduce((sum, [, count, unit]) => sum + Number(count) * unitSeconds[unit!]!, 0);
}

/** What failed in a run, as `deno test` prints it in front of the names. */
const ERRORS = /^ ERRORS \n\n([^]*?)\n FAILURES $/gm;

/** The failed tests of a run, each with the first lines of why. */
export function failuresOf(output: string, maxLines = 12): string[] {
  const errors = [...output.matchAll(ERRORS)].at(-1)?.[1] ?? "";
  const failures = errors.split(/^(?=.* => \.\/\S+:\d+:\d+$)/m).filter((text) =>
    text.trim() !== ""
  );
  return failures.map((text) => text.trimEnd().split("\n").slice(0, maxLines).join("\n"));
}
