import { assertEquals, assertThrows } from "@std/assert";
import { filesBelow, makeWhole, readTextIfThere, writeWhole } from "../../src/hub/files.ts";

Deno.test("writeWhole() makes folders and replaces what is there", () => {
  const dir = Deno.makeTempDirSync();
  writeWhole(`${dir}/a/b`, "1");
  writeWhole(`${dir}/a/b`, "2");
  assertEquals(filesBelow(dir), ["a/b"]);
  assertEquals(readTextIfThere(`${dir}/a/b`), "2");
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("what could not be made whole leaves nothing behind", () => {
  const dir = Deno.makeTempDirSync();
  Deno.mkdirSync(`${dir}/taken`);
  assertThrows(() => writeWhole(`${dir}/taken`, "1"));
  const fails = (temporary: string) => {
    Deno.writeTextFileSync(temporary, "1");
    throw new Deno.errors.WriteZero("no space left");
  };
  assertThrows(() => makeWhole(`${dir}/file`, fails), Deno.errors.WriteZero);
  assertEquals(filesBelow(dir), []);
  Deno.removeSync(dir, { recursive: true });
});
