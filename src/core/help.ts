import { examplesOf, usageOf } from "./command_names.ts";
import type { Flag } from "./flags.ts";

/** Columns of the page; fits a terminal window of the usual width. */
const PAGE_WIDTH = 96;
/** Where descriptions start; a longer flag has its description on the next line. */
const TEXT_COLUMN = 34;

/**
 * Formats a page of help: the head, then every flag with meaning, bounds, default and variable.
 *
 * @param head paragraphs, wrapped to the page's width line by line; by default, all commands'
 * usage.
 */
export function helpText(flags: readonly Flag[], head: readonly string[] = USAGE): string {
  const groups = new Map<string, Flag[]>();
  for (const flag of flags) groups.set(flag.group, [...groups.get(flag.group) ?? [], flag]);
  const sections = [...groups].map(([group, members]) =>
    [`${group}:`, ...members.flatMap(describeFlag)].join("\n")
  );
  return [...head.map(wrapLines), ...sections, NOTES].join("\n\n") + "\n";
}

const USAGE = [
  "Quire serves language models out of paged memory, over the OpenAI API.",
  usageOf(),
  ...examplesOf("serve"),
];

const NOTES = wrap(
  "A flag beats its environment variable. Flags that take several values may be repeated or hold " +
    "values separated by commas. Sizes in bytes take the suffixes KiB, MiB, GiB and TiB. " +
    "--gpu-memory-utilization is not available: WebGPU does not tell how much memory a GPU has.",
  PAGE_WIDTH,
).join("\n");

function describeFlag(flag: Flag): string[] {
  const head = `  --${flag.name} ${flag.value}`.trimEnd();
  const facts = [
    flag.kind === "integer"
      ? flag.expected.replace(/^(an integer|a size in bytes) (of )?/, "")
      : undefined,
    flag.defaultText === undefined ? undefined : `default ${flag.defaultText}`,
    flag.aliases === undefined ? undefined : `also ${flag.aliases.join(", ")}`,
    flag.environment,
  ].filter((fact) => fact !== undefined);
  const text = [flag.description, facts.join("; ")].flatMap((part) =>
    wrap(part, PAGE_WIDTH - TEXT_COLUMN)
  );
  const indent = " ".repeat(TEXT_COLUMN);
  if (head.length + 2 > TEXT_COLUMN) return [head, ...text.map((line) => indent + line)];
  return text.map((line, i) => (i === 0 ? head.padEnd(TEXT_COLUMN) : indent) + line);
}

/** Wraps each line; continuation lines are indented to the column of descriptions. */
function wrapLines(paragraph: string): string {
  return paragraph.split("\n").flatMap((line) => {
    if (line.length <= PAGE_WIDTH) return [line];
    const at = line.startsWith(" ") ? TEXT_COLUMN : 0;
    const [first = "", ...rest] = wrap(line.slice(at), PAGE_WIDTH - at);
    return [line.slice(0, at) + first, ...rest.map((part) => " ".repeat(at) + part)];
  }).join("\n");
}

/** Breaks `text` at spaces into lines of at most `width` characters; longer words stay whole. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
