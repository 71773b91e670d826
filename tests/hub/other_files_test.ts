import { assertEquals } from "@std/assert";
import { parseModelReference } from "../../src/hub/model_reference.ts";
import { quantizedFiles } from "../../src/hub/other_files.ts";

const COMMIT = "c".repeat(40);

/** Runs `work` with a cache that lists the files of a commit, or has no list. */
function withTree(sizes: Record<string, number> | undefined, work: (cacheDir: string) => void) {
  const cacheDir = Deno.makeTempDirSync();
  try {
    const trees = `${cacheDir}/models--acme--tiny/trees`;
    Deno.mkdirSync(trees, { recursive: true });
    if (sizes !== undefined) {
      const files = Object.fromEntries(
        Object.entries(sizes).map((
          [path, size],
        ) => [path, { size: 130, blob_id: "x", lfs_size: size }]),
      );
      Deno.writeTextFileSync(
        `${trees}/${COMMIT}.json`,
        JSON.stringify({ format_version: 1, files }),
      );
    }
    work(cacheDir);
  } finally {
    Deno.removeSync(cacheDir, { recursive: true });
  }
}

Deno.test("the quantizations of a repository are known by the names that serve them, all parts counted", () => {
  const sizes = {
    "README.md": 1,
    "tiny-Q4_K_M.gguf": 400,
    "tiny-Q8_0-00001-of-00002.gguf": 500,
    "tiny-Q8_0-00002-of-00002.gguf": 300,
    "mmproj-tiny-F16.gguf": 7,
  };
  withTree(sizes, (cacheDir) => {
    const filesOf = (name: string) => quantizedFiles(cacheDir, parseModelReference(name), COMMIT);
    assertEquals(filesOf("acme/tiny:Q8_0"), [
      { name: "acme/tiny:Q4_K_M", bytes: 400 },
      { name: "acme/tiny:Q8_0", bytes: 800 },
    ]);
    assertEquals(filesOf("acme/tiny@v2:tiny-Q4_K_M.gguf")[0]!.name, "acme/tiny@v2:Q4_K_M");
  });
});

Deno.test("files without a name of their own, and repositories without a list, have no quantizations", () => {
  const reference = parseModelReference("acme/tiny");
  const twice = { "a-Q4_0.gguf": 1, "b-Q4_0.gguf": 2, "a-Q8_0.gguf": 3 };
  withTree(twice, (cacheDir) => {
    const names = quantizedFiles(cacheDir, reference, COMMIT).map(({ name }) => name);
    assertEquals(names, ["acme/tiny:Q8_0"]);
  });
  withTree(undefined, (cacheDir) => {
    assertEquals(quantizedFiles(cacheDir, reference, COMMIT), []);
  });
});
