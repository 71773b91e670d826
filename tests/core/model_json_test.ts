import { assertEquals, assertThrows } from "@std/assert";
import { z } from "zod";
import { StartupError } from "../../src/core/errors.ts";
import { parseModelJson, readModelJson, readModelText } from "../../src/core/model_json.ts";
import { withModelDir } from "../weights/checkpoint_files.ts";

Deno.test("readModelText() returns a file's text, and undefined where there is none", () => {
  withModelDir({ "a.json": "grün" }, (dir) => {
    assertEquals(readModelText(`${dir}/`, "a.json"), "grün");
    assertEquals(readModelText(dir, "b.json"), undefined);
  });
});

Deno.test("readModelText() refuses large files and directories", () => {
  withModelDir({ "a.json": "123456" }, (dir) => {
    assertThrows(() => readModelText(dir, "a.json", 5), StartupError, "6 bytes, over the limit");
    Deno.mkdirSync(`${dir}/d.json`);
    assertThrows(() => readModelText(dir, "d.json"), StartupError, "not a regular file");
  });
});

Deno.test("readModelJson() names the file that is not JSON", () => {
  withModelDir({ "a.json": "{,", "b.json": "[1]" }, (dir) => {
    assertThrows(() => readModelJson(dir, "a.json"), StartupError, `${dir}/a.json is not valid`);
    assertEquals(readModelJson(dir, "b.json"), [1]);
    assertEquals(readModelJson(dir, "c.json"), undefined);
  });
});

Deno.test("parseModelJson() names file, field and value", () => {
  const schema = z.object({ a: z.array(z.number().max(3)) });
  assertEquals(parseModelJson(schema, { a: [1], b: 2 }, "c.json"), { a: [1] });
  const refuse = (value: unknown, part: string) =>
    assertThrows(() => parseModelJson(schema, value, "c.json"), StartupError, part);
  refuse({ a: [1, 4] }, 'c.json: field "a.1" is 4: Too big: expected number to be <=3');
  refuse({}, 'c.json: field "a" is missing');
  refuse(null, "c.json: the whole file is null");
  refuse({ a: "x".repeat(200) }, "...: Invalid input");
});
