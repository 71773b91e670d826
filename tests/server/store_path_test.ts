import { assertEquals } from "@std/assert";
import { storePath } from "../../src/server/store_path.ts";

Deno.test("storePath() is what the flag says, nowhere for none, and else in the state directory", () => {
  const before = Deno.env.get("XDG_STATE_HOME");
  try {
    Deno.env.set("XDG_STATE_HOME", "/state");
    assertEquals(storePath(undefined, "a.sqlite3"), "/state/quire/a.sqlite3");
    assertEquals(storePath("mine.sqlite3", "a.sqlite3"), "mine.sqlite3");
    assertEquals(storePath("none", "a.sqlite3"), undefined);
  } finally {
    if (before === undefined) Deno.env.delete("XDG_STATE_HOME");
    else Deno.env.set("XDG_STATE_HOME", before);
  }
});
