import { assertEquals } from "@std/assert";
import { strftime } from "../../src/tokenizer/strftime.ts";

const DATE = new Date(2026, 2, 5, 9, 7, 3);

Deno.test("strftime() expands the directives that templates use", () => {
  const expected: Record<string, string> = {
    "%d %b %Y": "05 Mar 2026",
    "%B %d, %Y": "March 05, 2026",
    "%Y-%m-%d %H:%M:%S": "2026-03-05 09:07:03",
    "%A, %a": "Thursday, Thu",
    "%y %j %e": "26 064  5",
    "%I:%M %p": "09:07 AM",
    "%-d.%-m. %-H %-j %-e": "5.3. 9 64 5",
    "100%% %": "100% %",
    "%Q %é": "%Q %é",
  };
  for (const [format, text] of Object.entries(expected)) {
    assertEquals(strftime(format, DATE), text, format);
  }
});

Deno.test("strftime() counts twelve hours, and the days of a leap year", () => {
  const hours = [0, 1, 11, 12, 13, 23].map((hour) => strftime("%I%p", new Date(2026, 0, 1, hour)));
  assertEquals(hours, ["12AM", "01AM", "11AM", "12PM", "01PM", "11PM"]);
  assertEquals(strftime("%j", new Date(2024, 11, 31, 23, 59)), "366");
  assertEquals(strftime("%j %-S", new Date(2025, 0, 1)), "001 0");
});
