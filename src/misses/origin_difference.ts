import type { MissCause, PromptPart } from "../core/miss_report.ts";
import type { OriginMessage, PromptOrigin } from "../core/prompt_origin.ts";
import { differByClock } from "./clock_text.ts";

/** One way in which two requests differ that a prompt may show. */
export interface OriginDifference {
  readonly cause: MissCause;
  readonly part: PromptPart;
  /** The texts that differ; empty for one that is not there. */
  readonly old: string;
  readonly new: string;
}

/**
 * How a request differs from the earlier one that it goes on from: by its tools, by the first
 * message that is not the same, and by variables of the template. What comes behind the earlier
 * one's messages is no difference.
 */
export function originDifferences(old: PromptOrigin, now: PromptOrigin): OriginDifference[] {
  return [
    toolDifference(old.tools ?? [], now.tools ?? []),
    messageDifference(old.messages, now.messages),
    variableDifference(old.variables, now.variables),
  ].filter((difference) => difference !== undefined);
}

/** Whether a template gets the same of both messages. */
function isSameMessage(a: OriginMessage, b: OriginMessage): boolean {
  return a === b ||
    (a.role === b.role && a.content === b.content && a.name === b.name &&
      a.reasoning_content === b.reasoning_content && a.tool_call_id === b.tool_call_id &&
      isSameJson(a.tool_calls, b.tool_calls));
}

function toolDifference(
  old: readonly unknown[],
  now: readonly unknown[],
): OriginDifference | undefined {
  const at = firstIndex(old, now);
  if (at === undefined) return undefined;
  const sorted = (tools: readonly unknown[]) =>
    jsonOf(tools.map((t) => jsonOf(canonical(t))).sort());
  const isReordered = sorted(old) === sorted(now);
  const path = isReordered ? "" : pathOf(old[at], now[at]);
  return {
    cause: isReordered ? "tool_order" : "tool_schema",
    part: { field: `tools.${at}${path}` },
    old: jsonOf(old[at]),
    new: jsonOf(now[at]),
  };
}

function messageDifference(
  old: readonly OriginMessage[],
  now: readonly OriginMessage[],
): OriginDifference | undefined {
  const end = Math.min(old.length, now.length);
  let at = 0;
  while (at < end && isSameMessage(old[at]!, now[at]!)) at++;
  if (at === end) return undefined;
  const [before, after] = [old[at]!, now[at]!];
  const whole = {
    part: { message: at, role: after.role, field: "content" },
    old: before.content,
    new: after.content,
  };
  if (resumesIn(old, now, at)) return { cause: "messages_dropped", ...whole };
  if (resumesIn(now, old, at)) return { cause: "message_inserted", ...whole };
  if (before.role !== after.role) return { cause: "message_edited", ...whole };
  const field = fieldOf(before, after);
  const texts = { old: textOf(before, field), new: textOf(after, field) };
  // An answer that was begun for the model, and went on from there.
  if (at === old.length - 1 && before.role === "assistant" && texts.new.startsWith(texts.old)) {
    return undefined;
  }
  return {
    cause: causeOf(before.role, field, texts),
    part: { message: at, role: after.role, field },
    ...texts,
  };
}

/**
 * Whether `longer` goes on as `shorter` does at `at` some messages later: those between were taken
 * out of it. All that is left of one of them has to be the same.
 */
function resumesIn(
  longer: readonly OriginMessage[],
  shorter: readonly OriginMessage[],
  at: number,
): boolean {
  for (let from = at + 1; from < longer.length; from++) {
    let count = 0;
    const most = Math.min(longer.length - from, shorter.length - at);
    while (count < most && isSameMessage(longer[from + count]!, shorter[at + count]!)) count++;
    if (count > 0 && count === most) return true;
  }
  return false;
}

function causeOf(
  role: string,
  field: keyof OriginMessage,
  { old, new: now }: { readonly old: string; readonly new: string },
): MissCause {
  if (field === "reasoning_content") return now === "" ? "thinking_stripped" : "message_edited";
  if (field === "content" && differByClock(old, now)) return "clock";
  return role === "system" ? "system_prompt" : "message_edited";
}

const FIELDS = ["reasoning_content", "content", "tool_calls", "name", "tool_call_id"] as const;

function fieldOf(a: OriginMessage, b: OriginMessage): typeof FIELDS[number] {
  return FIELDS.find((field) => textOf(a, field) !== textOf(b, field)) ?? "content";
}

function textOf(message: OriginMessage, field: keyof OriginMessage): string {
  const value = message[field];
  return value === undefined ? "" : typeof value === "string" ? value : jsonOf(value);
}

function variableDifference(
  old: PromptOrigin["variables"],
  now: PromptOrigin["variables"],
): OriginDifference | undefined {
  const names = [...new Set([...Object.keys(old), ...Object.keys(now)])];
  const name = names.find((one) => old[one] !== now[one]);
  if (name === undefined) return undefined;
  const part = { field: `chat_template_kwargs.${name}` };
  return { cause: "template", part, old: String(old[name] ?? ""), new: String(now[name] ?? "") };
}

/** The first index at which two lists differ; undefined where they are the same. */
function firstIndex(a: readonly unknown[], b: readonly unknown[]): number | undefined {
  const length = Math.max(a.length, b.length);
  for (let at = 0; at < length; at++) {
    if (at >= a.length || at >= b.length || !isSameJson(a[at], b[at])) return at;
  }
  return undefined;
}

/** Whether two values are the same JSON, the order of fields included. */
export function isSameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return false;
  const [names, others] = [Object.keys(a), Object.keys(b)];
  return names.length === others.length &&
    names.every((name, i) => name === others[i] && isSameJson(a[name], b[name]));
}

/** The path to the first difference of two values of JSON, such as `.function.name`. */
function pathOf(old: unknown, now: unknown): string {
  if (!isObject(old) || !isObject(now)) return "";
  for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
    if (!isSameJson(old[name], now[name])) return `.${name}${pathOf(old[name], now[name])}`;
  }
  return "";
}

/** The value with the fields of its objects in alphabetical order. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value).sort().map((name) => [name, canonical(value[name])]),
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function jsonOf(value: unknown): string {
  return value === undefined ? "" : JSON.stringify(value);
}
