/** A pattern that a grammar cannot hold; the message says why. */
export class PatternError extends Error {
  override name = "PatternError";
}

/** What a text between quotes of JSON has to escape; a pattern never matches these. */
const ESCAPED = '"\\\\\\x00-\\x1f';
const SPACES = " \\t\\n\\r\\f\\v";

/** Shorthands for classes, in a class of their own and among others of a class. */
const SHORTHANDS: Readonly<Record<string, { readonly alone: string; readonly inClass?: string }>> =
  {
    d: { alone: "[0-9]", inClass: "0-9" },
    w: { alone: "[a-zA-Z0-9_]", inClass: "a-zA-Z0-9_" },
    s: { alone: "[ ]", inClass: " " },
    D: { alone: `[^0-9${ESCAPED}]` },
    W: { alone: `[^a-zA-Z0-9_${ESCAPED}]` },
    S: { alone: `[^${SPACES}${ESCAPED}]` },
  };

/**
 * A regular expression whose matches stand between quotes in JSON as they are: no quote, no
 * backslash, no control character. Its matches are some of those of `pattern`, from the first
 * character to the last.
 *
 * @throws {PatternError} where the pattern asks for one of these characters, or for more than a
 * grammar can: look-around, references.
 */
export function patternInJson(pattern: string): string {
  const parts: string[] = [];
  for (let i = 0; i < pattern.length;) {
    const character = pattern[i]!;
    const next = pattern[i + 1] ?? "";
    if (character === "\\") {
      parts.push(SHORTHANDS[next]?.alone ?? literal(next));
      i += 2;
    } else if (character === "[") {
      const end = endOfClass(pattern, i);
      parts.push(classInJson(pattern.slice(i + 1, end)));
      i = end + 1;
    } else if (character === "(" && next === "?" && pattern[i + 2] !== ":") {
      throw new PatternError("it has a group with (?, other than (?:");
    } else {
      parts.push(character === "." ? `[^${ESCAPED}]` : plain(character));
      i++;
    }
  }
  return parts.join("");
}

/** The place of the `]` that ends the class at `start`. */
function endOfClass(pattern: string, start: number): number {
  for (let i = start + 1; i < pattern.length; i++) {
    if (pattern[i] === "\\") i++;
    else if (pattern[i] === "]" && i > start + 1) return i;
  }
  throw new PatternError("a [ has no ]");
}

/** A class without its brackets, which holds nothing that JSON escapes. */
function classInJson(inner: string): string {
  const isNegated = inner.startsWith("^");
  const parts: string[] = [];
  for (let i = isNegated ? 1 : 0; i < inner.length; i++) {
    const character = inner[i]!;
    if (character !== "\\") parts.push(isNegated ? character : plain(character));
    else {
      const next = inner[++i] ?? "";
      const shorthand = SHORTHANDS[next];
      if (shorthand === undefined) parts.push(isNegated ? `\\${next}` : literal(next));
      else if (shorthand.inClass !== undefined) {
        parts.push(isNegated && next === "s" ? SPACES : shorthand.inClass);
      } else throw new PatternError(`\\${next} stands in a class`);
    }
  }
  const listed = parts.join("");
  checkRanges(listed);
  return isNegated ? `[^${listed}${ESCAPED}]` : `[${listed}]`;
}

/** A range from below a character that JSON escapes to above it would contain it. */
function checkRanges(listed: string): void {
  for (const [range, from, to] of listed.matchAll(/([^\\])-([^\\\]])/g)) {
    const holds = (character: string) => from! <= character && character <= to!;
    if (holds('"') || holds("\\") || from! < " ") {
      throw new PatternError(`the range ${range} holds a character that JSON escapes`);
    }
  }
}

/** An escaped character outside of shorthands. */
function literal(character: string): string {
  if (/[.*+?^${}()|[\]/-]/.test(character)) return `\\${character}`;
  throw new PatternError(`it has \\${character}`);
}

function plain(character: string): string {
  if (character !== '"' && character >= " ") return character;
  throw new PatternError("it asks for a quote or a control character, which JSON escapes");
}
