import { assertEquals, assertThrows } from "@std/assert";
import {
  compilesMost,
  failuresOf,
  fileTimes,
  FULL_RUN_ONLY,
  groupsOf,
  quickFiles,
  SLOWEST,
  slowestFirst,
  testFilesIn,
  testFolderOf,
  writeEntries,
} from "./support/test_files.ts";

Deno.test("testFilesIn() finds every test file, and slowestFirst() loses none", () => {
  const files = testFilesIn("tests");
  assertEquals(new Set(files).size, files.length);
  assertEquals(files.includes("tests/run_test.ts"), true);
  assertEquals(files.includes("tests/kvcache/pool/block_pool_test.ts"), true);
  assertEquals(files.some((file) => file.startsWith("tests/support/")), false);
  assertEquals(slowestFirst(files).toSorted(), files.toSorted());
  assertEquals(slowestFirst(["tests/a_test.ts", "tests/e2e/recall_test.ts"]), [
    "tests/e2e/recall_test.ts",
    "tests/a_test.ts",
  ]);
});

Deno.test("groupsOf() loses no file, keeps the order, and leaves long files and servers alone", () => {
  const files = slowestFirst(testFilesIn("tests"));
  const groups = groupsOf(files);
  assertEquals(groups.flat().toSorted(), files.toSorted());
  for (const group of groups) {
    assertEquals(group, files.filter((file) => group.includes(file)));
    if (group.length === 1) continue;
    assertEquals(group.length <= (group.some(compilesMost) ? 4 : 16), true, group.join(", "));
    const isApart = (file: string) => SLOWEST.includes(file) || /tests\/(e2e|faults)\//.test(file);
    assertEquals(group.filter(isApart), []);
  }
  assertEquals(groups.length < files.length / 2, true);
  assertEquals(groupsOf([]), []);
  assertEquals(groupsOf(["tests/run_test.ts"]), [["tests/run_test.ts"]]);
});

Deno.test("writeEntries() writes modules that import each file of their groups", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const groups = [["tests/a_test.ts"], ["tests/b/c_test.ts", "tests/d_test.ts"]];
    const entries = writeEntries(folder, groups);
    assertEquals(entries.map(({ name }) => name), ["tests/a_test.ts", "tests/b/c_test.ts+1"]);
    const root = new URL("../", import.meta.url).href;
    assertEquals(
      entries.map(({ path }) => Deno.readTextFileSync(path)),
      groups.map((files) => files.map((file) => `import "${root}${file}";\n`).join("")),
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("compilesMost() knows the kernels' files, and the families' by names that there are", () => {
  const files = testFilesIn("tests").filter(compilesMost);
  const models = files.filter((file) => !file.startsWith("tests/kernels/"));
  assertEquals(
    models,
    [
      ...["experts", "families_gguf", "families", "gpu_families", "kept_blocks", "mxfp4_experts"],
      "odd_shapes",
    ].map((name) => `tests/models/${name}_test.ts`),
  );
  assertEquals(files.length - models.length, testFilesIn("tests/kernels").length);
});

Deno.test("quickFiles() leaves out some files and tells which", () => {
  const files = testFilesIn("tests");
  const { run, leftOut } = quickFiles(files);
  assertEquals([...run, ...leftOut].toSorted(), files.toSorted());
  assertEquals(leftOut.includes("tests/e2e/recall_test.ts"), true);
  assertEquals(leftOut.some((file) => file.startsWith("tests/kvcache/")), false);
});

Deno.test("testFolderOf() knows a room by its name and by its path, and names the rooms otherwise", () => {
  for (const room of ["kvcache", "src/kvcache", "src/kvcache/", "./src/kvcache", "tests/kvcache"]) {
    assertEquals(testFolderOf(room), "tests/kvcache");
  }
  assertEquals(testFolderOf("kernels"), "tests/kernels");
  assertEquals(testFolderOf("src/kvcache/pool"), "tests/kvcache/pool");
  const error = assertThrows(() => testFolderOf("src/kvcash"), RangeError, "No room src/kvcash");
  assertEquals(error.message.includes("kernels, kvcache, misses"), true, error.message);
});

Deno.test("fileTimes() adds up the tests of each file, however they are printed", () => {
  const parallel = [
    "./tests/a_test.ts => one (of two) ... ok (250ms)",
    "./tests/b_test.ts => takes (3s) ... FAILED (1m15s)",
    "./tests/a_test.ts => two ... ok (2s)",
    "./tests/a_test.ts => three ... ignored (0ms)",
    "ok | 3 passed | 1 failed (1m19s)",
  ];
  assertEquals(fileTimes(parallel.join("\n")), [
    { file: "tests/b_test.ts", seconds: 75 },
    { file: "tests/a_test.ts", seconds: 2.25 },
  ]);
  const alone = ["running 2 tests from ./tests/c_test.ts", "one ... ok (5s)", "two ... ok (1s)"];
  assertEquals(fileTimes(alone.join("\n")), [{ file: "tests/c_test.ts", seconds: 6 }]);
});

Deno.test("failuresOf() repeats the tests that failed, and the first lines of why", () => {
  const output = [
    "./tests/a_test.ts => prints ...",
    " ERRORS ",
    "./tests/a_test.ts => prints ... ok (1ms)",
    "",
    " ERRORS ",
    "",
    "one (of two) => ./tests/a_test.ts:1:6",
    "error: Error: first",
    "second",
    "    at file:///tests/a_test.ts:1:34",
    "",
    "two ... a step => ./tests/b_test.ts:20:47",
    "error: TypeError: in a step",
    "    at fn (file:///tests/b_test.ts:2:85)",
    "",
    " FAILURES ",
    "",
    "one (of two) => ./tests/a_test.ts:1:6",
    "two ... a step => ./tests/b_test.ts:20:47",
    "",
    "FAILED | 1 passed | 2 failed (27ms)",
  ].join("\n");
  assertEquals(failuresOf(output, 3), [
    "one (of two) => ./tests/a_test.ts:1:6\nerror: Error: first\nsecond",
    "two ... a step => ./tests/b_test.ts:20:47\nerror: TypeError: in a step\n" +
    "    at fn (file:///tests/b_test.ts:2:85)",
  ]);
  assertEquals(failuresOf("ok | 3 passed | 0 failed (1s)"), []);
});

Deno.test("the lists of long test files name files that there are", () => {
  const files = testFilesIn("tests");
  assertEquals([...SLOWEST, ...FULL_RUN_ONLY].filter((file) => !files.includes(file)), []);
});
