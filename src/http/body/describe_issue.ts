import type { z } from "zod";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** A fault of a request body, as an error answer reports it. */
export interface IssueDescription {
  /** Dotted path of the field, such as `messages.0.role`; empty for the body itself. */
  readonly param: string;
  /** Names field, limit and value. */
  readonly message: string;
  readonly code:
    | "missing_required_parameter"
    | "invalid_type"
    | "invalid_value"
    | "unknown_parameter";
}

/** Longest part of a refused text that an answer repeats, in characters. */
const MAX_QUOTED_CHARS = 40;

/** Describes the first issue that zod found in `body`; of a union, its likeliest branch. */
export function describeIssue(issue: Issue, body: unknown): IssueDescription {
  const [deepest, path] = narrowUnion(issue, issue.path);
  if (deepest.code === "unrecognized_keys") return unknownField(deepest.keys[0]!, path);
  const value = valueAt(body, path);
  const param = path.join(".");
  const name = param === "" ? "The body" : param;
  if (value === undefined) {
    return { param, message: `${name} is required`, code: "missing_required_parameter" };
  }
  return {
    param,
    message: `${name} must be ${expectation(deepest)}, got ${quote(value)}`,
    code: deepest.code === "invalid_type" || deepest.code === "invalid_union"
      ? "invalid_type"
      : "invalid_value",
  };
}

function unknownField(key: string, path: Path): IssueDescription {
  const param = [...path, key.slice(0, 100).toWellFormed()].join(".");
  const message = `${param} is not a field that this endpoint knows: leave it out`;
  return { param, message, code: "unknown_parameter" };
}

/**
 * A union fails with the issues of every branch, their paths relative to it. The branch that
 * accepts the value's type is the one that the client meant; where none does, the issue is the
 * union's.
 */
function narrowUnion(issue: Issue, path: Path): [Issue, Path] {
  if (issue.code !== "invalid_union") return [issue, path];
  const deeper = issue.errors
    .flatMap((branch) => branch.slice(0, 1))
    .find(({ path, code }) => path.length > 0 || code !== "invalid_type");
  return deeper === undefined ? [issue, path] : narrowUnion(deeper, [...path, ...deeper.path]);
}

function valueAt(body: unknown, path: Path): unknown {
  let value = body;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

function expectation(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return article(issue.expected);
    case "too_big":
      return bound(
        issue.origin,
        issue.inclusive === false ? "less than" : "at most",
        issue.maximum,
      );
    case "too_small":
      return bound(
        issue.origin,
        issue.inclusive === false ? "more than" : "at least",
        issue.minimum,
      );
    case "invalid_value":
      return `one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
    case "invalid_union":
      return unionOf(issue.errors.flatMap((branch) => branch.slice(0, 1)));
    default:
      return issue.message;
  }
}

function unionOf(issues: readonly Issue[]): string {
  return [...new Set(issues.map(expectation))].join(" or ");
}

function bound(origin: string, relation: string, limit: number | bigint): string {
  if (origin === "string") return `a string of ${relation} ${limit} characters`;
  if (origin === "array") return `an array of ${relation} ${limit} elements`;
  return `${relation} ${limit}`;
}

function article(type: string): string {
  const word = type === "int" ? "integer" : type;
  return `${/^[aeio]/.test(word) ? "an" : "a"} ${word}`;
}

/** A value short enough for an error answer, and without walking into it. */
function quote(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return `an array of ${value.length} elements`;
  if (typeof value === "object") return "an object";
  const text = typeof value === "string"
    ? JSON.stringify(value.slice(0, MAX_QUOTED_CHARS + 1))
    : String(value);
  return text.length > MAX_QUOTED_CHARS
    ? `${text.slice(0, MAX_QUOTED_CHARS).toWellFormed()}…`
    : text;
}
