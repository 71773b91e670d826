import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { storePath } from "../../src/server/store_path.ts";

const KIND = { fileName: "a.sqlite3", flag: "--a-store" };

Deno.test("storePath() is what the flag says, nowhere for none, and else in the state directory", () => {
  const before = Deno.env.get("XDG_STATE_HOME");
  try {
    Deno.env.set("XDG_STATE_HOME", "/state");
    assertEquals(storePath(undefined, KIND), "/state/quire/a.sqlite3");
    assertEquals(storePath("mine.sqlite3", KIND), "mine.sqlite3");
    assertEquals(storePath("none", KIND), undefined);
  } finally {
    if (before === undefined) Deno.env.delete("XDG_STATE_HOME");
    else Deno.env.set("XDG_STATE_HOME", before);
  }
});

Deno.test({
  name: "storePath() refuses a path that may not be read, and forgets the default one",
  permissions: { env: true, read: false },
  fn() {
    assertEquals(storePath(undefined, KIND), undefined);
    const { message } = assertThrows(() => storePath("/mine.sqlite3", KIND), StartupError);
    assertStringIncludes(message, "Not allowed to read --a-store /mine.sqlite3: start with");
    assertStringIncludes(message, "--allow-read=/mine.sqlite3 --allow-write=/mine.sqlite3");
  },
});
