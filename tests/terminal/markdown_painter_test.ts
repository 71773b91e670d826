import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { MarkdownPainter } from "../../src/terminal/markdown_painter.ts";
import { createStyle, visibleText } from "../../src/terminal/style.ts";
import { runs } from "../support/runs.ts";

/** What a text becomes, with looks as tags in place of escape sequences. */
function painted(text: string, cut = text.length): string {
  const painter = new MarkdownPainter(createStyle(true));
  const shown = painter.write(text.slice(0, cut)) + painter.write(text.slice(cut)) + painter.end();
  return tagged(shown);
}

const TAGS: Readonly<Record<string, string>> = {
  "1": "<b>",
  "22": "</>",
  "2": "<dim>",
  "3": "<i>",
  "23": "</i>",
  "36": "<c>",
  "39": "</c>",
};

function tagged(text: string): string {
  // deno-lint-ignore no-control-regex -- escape sequences are what is looked for
  return text.replace(/\x1b\[(\d+)m/g, (_, code) => TAGS[code] ?? "?")
    .replaceAll("</><b>", "").replaceAll("</><dim>", "").replaceAll("</c><c>", "").replaceAll(
      "</i><i>",
      "",
    );
}

Deno.test("bold, italic and code are painted without their marks", () => {
  assertEquals(painted("a **b** c"), "a <b>b</> c");
  assertEquals(painted("a *b* c"), "a <i>b</i> c");
  assertEquals(painted("use `a * b` now"), "use <c>a * b</c> now");
});

Deno.test("stars that are no marks stay", () => {
  assertEquals(painted("2 * 3 = 6"), "2 * 3 = 6");
  assertEquals(painted("ends with *"), "ends with *");
  assertEquals(painted("2 ** 3"), "2 ** 3");
});

Deno.test("headings and lists lose their marks, and numbers stay", () => {
  assertEquals(painted("## Head\ntext"), "<b>Head</>\ntext");
  assertEquals(painted("- one\n* two\n1. three"), "<c>•</c> one\n<c>•</c> two\n1. three");
  assertEquals(painted("#no heading"), "#no heading");
  assertEquals(painted("-5 degrees"), "-5 degrees");
});

Deno.test("a block of code is shown as it is, marks and all", () => {
  assertEquals(
    painted("x\n```ts\nconst a = `b` ** 2;\n# no heading\n```\n**y**"),
    "x\n<dim>```ts</>\n<c>const a = `b` ** 2;</c>\n<c># no heading</c>\n<dim>```</>\n<b>y</>",
  );
});

Deno.test("without colour every text stays as it came", () => {
  const painter = new MarkdownPainter(createStyle(false));
  assertEquals(painter.write("# a **b** `c`\n- d") + painter.end(), "# a **b** `c`\n- d");
});

Deno.test("property: where a stream is cut changes nothing, and no letter is lost", () => {
  const piece = fc.constantFrom(
    "a",
    "b ",
    " ",
    "*",
    "**",
    "`",
    "```",
    "\n",
    "# ",
    "- ",
    "1. ",
    "x",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), fc.nat(40), (pieces, cut) => {
      const text = pieces.join("");
      const whole = painted(text);
      assertEquals(painted(text, Math.min(cut, text.length)), whole);
      const letters = (shown: string) => shown.replace(/<[^>]*>/g, "").replace(/[^abx1\n]/g, "");
      assertEquals(letters(whole), letters(text));
    }),
    { numRuns: runs(300) },
  );
});

Deno.test("visibleText() takes out what a terminal would act on", () => {
  assertEquals(visibleText("a\x1b[2Jb\x07\r\x9b31mc\u202ed\n\te"), "a[2Jb31mcd\n\te");
  assert(visibleText("日本 é 🦊") === "日本 é 🦊");
});
