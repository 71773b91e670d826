import type { ParsedCall } from "./call_parser.ts";

/** The calls of a JSON text: an object with a name and its arguments, or a list of those. */
export function parseJsonCalls(text: string): readonly ParsedCall[] | undefined {
  const value = parseJson(text);
  const items = Array.isArray(value) ? value : [value];
  const calls = items.map(toCall);
  return calls.length > 0 && calls.every((call) => call !== undefined) ? calls : undefined;
}

/** The value of a JSON text, or undefined for another text. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toCall(value: unknown): ParsedCall | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { name, arguments: given, parameters, function: inner } = value as Record<string, unknown>;
  if (typeof inner === "object") return toCall(inner);
  if (typeof name !== "string" || name === "") return undefined;
  const callArguments = given ?? parameters ?? {};
  // Some models write the arguments as a text of JSON.
  const read = typeof callArguments === "string" ? parseJson(callArguments) : callArguments;
  return typeof read === "object" && read !== null ? { name, arguments: read } : undefined;
}

/**
 * Mistral's calls: a list, or a name with an object behind it, with or without `[ARGS]` between.
 */
export function parseMistralCalls(text: string): readonly ParsedCall[] | undefined {
  const [, name, json] = /^\s*([\w.-]+)\s*(?:\[ARGS\])?\s*(\{.*)$/s.exec(text) ?? [];
  if (name === undefined) return parseJsonCalls(text);
  const value = parseJson(json!);
  return typeof value === "object" && value !== null ? [{ name, arguments: value }] : undefined;
}
