/** Which test files there are, in which order they run, and how long each took. */

/**
 * Files that take longest, the longest first: they start first, so that none is left over while the
 * other processors are idle. Deno keeps this order among folders, and within each.
 */
const SLOWEST = [
  "tests/e2e/recall_test.ts",
  "tests/e2e/numeric_edges_test.ts",
  "tests/e2e/prefix_cache_test.ts",
  "tests/e2e/command_line_test.ts",
  "tests/e2e/engine_failure_test.ts",
  "tests/e2e/elastic_pool_test.ts",
  "tests/e2e/raw_fuzz_test.ts",
  "tests/models/equivalence_test.ts",
  "tests/models/demo_golden_test.ts",
  "tests/kvcache/block_manager_histories_test.ts",
  "tests/kvcache/groups/slab_pool_histories_test.ts",
  "tests/kvcache/groups/group_histories_test.ts",
  "tests/scheduler/scheduler_histories_test.ts",
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

/**
 * The folder with the tests of a room, which is named as a folder of `tests`, or by its path: `kvcache`,
 * `src/kvcache`, `kernels`.
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

/** How long each file of a JUnit report of `deno test` took, the longest first. */
export function fileTimes(junit: string): FileTime[] {
  const seconds = new Map<string, number>();
  for (const [, file, time] of junit.matchAll(/ classname="(?:\.\/)?([^"]+)" time="([\d.]+)"/g)) {
    seconds.set(file!, (seconds.get(file!) ?? 0) + Number(time));
  }
  return [...seconds].map(([file, seconds]) => ({ file, seconds }))
    .sort((a, b) => b.seconds - a.seconds);
}
