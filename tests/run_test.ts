import { assertEquals, assertThrows } from "@std/assert";
import { fileTimes, slowestFirst, testFilesIn, testFolderOf } from "./support/test_files.ts";

Deno.test("testFilesIn() finds every test file, and slowestFirst() loses none", () => {
  const files = testFilesIn("tests");
  assertEquals(new Set(files).size, files.length);
  assertEquals(files.includes("tests/run_test.ts"), true);
  assertEquals(files.includes("tests/kvcache/groups/slab_pool_test.ts"), true);
  assertEquals(files.some((file) => file.startsWith("tests/support/")), false);
  assertEquals(slowestFirst(files).toSorted(), files.toSorted());
  assertEquals(slowestFirst(["tests/a_test.ts", "tests/e2e/recall_test.ts"]), [
    "tests/e2e/recall_test.ts",
    "tests/a_test.ts",
  ]);
});

Deno.test("testFolderOf() knows a room by its name and by its path, and names the rooms otherwise", () => {
  for (const room of ["kvcache", "src/kvcache", "src/kvcache/", "./src/kvcache", "tests/kvcache"]) {
    assertEquals(testFolderOf(room), "tests/kvcache");
  }
  assertEquals(testFolderOf("kernels"), "tests/kernels");
  assertEquals(testFolderOf("src/kvcache/groups"), "tests/kvcache/groups");
  const error = assertThrows(() => testFolderOf("src/kvcash"), RangeError, "No room src/kvcash");
  assertEquals(error.message.includes("kernels, kvcache, models"), true, error.message);
});

Deno.test("fileTimes() adds up the tests of each file of a report", () => {
  const report = `<testsuites name="deno test" tests="3" failures="0" errors="0" time="9.5">
    <testsuite name="./tests/a_test.ts" tests="2" disabled="0" errors="0" failures="0">
        <testcase name="one" classname="./tests/a_test.ts" time="0.250" line="4" col="6">
        <testcase name="time=&quot;7&quot;" classname="./tests/a_test.ts" time="1.5" line="9" col="6">
    <testsuite name="./tests/b_test.ts" tests="1" disabled="0" errors="0" failures="0">
        <testcase name="two" classname="./tests/b_test.ts" time="2.000" line="4" col="6">`;
  assertEquals(fileTimes(report), [
    { file: "tests/b_test.ts", seconds: 2 },
    { file: "tests/a_test.ts", seconds: 1.75 },
  ]);
});
