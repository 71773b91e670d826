import { z } from "zod";
import type { RequestError } from "../../core/errors.ts";
import type { ToolDefinition } from "../../core/tool_parser.ts";
import { boundedArray } from "../body/bounded_array.ts";
import { invalid, quoted, unsupported } from "../refusals.ts";

/** Most tools of a request: each is part of the prompt, and of a grammar. */
export const MAX_TOOLS = 128;
/** Longest name, and what it is made of, as in OpenAI's API. */
const ToolName = z.string().regex(/^[\w.-]{1,64}$/, "1 to 64 letters, digits, _, . and -");
/** The same in APIs whose names are longer, since agents put a server's name before a tool's. */
export const LongToolName = z.string()
  .regex(/^[\w.-]{1,128}$/, "1 to 128 letters, digits, _, . and -");

const Tool = z.looseObject({
  type: z.literal("function"),
  function: z.looseObject({
    name: ToolName,
    description: z.string().nullish(),
    parameters: z.looseObject({}).nullish(),
    strict: z.boolean().nullish(),
  }),
});

/** Fields of `/v1/chat/completions` about tools; null counts as absent. */
export const TOOL_FIELDS = {
  tools: boundedArray(Tool, { max: MAX_TOOLS }).nullish(),
  tool_choice: z.union([
    z.enum(["none", "auto", "required"]),
    z.looseObject({ type: z.literal("function"), function: z.looseObject({ name: ToolName }) }),
  ]).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
};

const ToolFields = z.looseObject(TOOL_FIELDS);
/** The checked values of {@link TOOL_FIELDS}. */
export type ToolFields = z.output<typeof ToolFields>;

/** What a request says about tools. */
export interface ToolUse {
  /** As the chat template reads them. */
  readonly templateTools: readonly unknown[];
  readonly tools: readonly ToolDefinition[];
  /** `named` is a choice of one tool, the only one in `forced`. */
  readonly choice: "auto" | "required" | "named";
  /** The tools of which at least one has to be called; empty for `auto`. */
  readonly forced: readonly ToolDefinition[];
  readonly isParallel: boolean;
}

/**
 * The tools of a request; undefined where it has none or may call none.
 *
 * @throws {RequestError} for a choice without tools, and of a tool that is not there.
 */
export function toolUseOf(request: ToolFields): ToolUse | undefined {
  const given = request.tools ?? [];
  const choice = request.tool_choice ?? "auto";
  if (given.length === 0) {
    if (choice === "auto" || choice === "none") return undefined;
    throw invalid("tool_choice", "tool_choice needs tools, and there are none");
  }
  if (choice === "none") return undefined;
  const tools = given.map(({ function: one }): ToolDefinition => ({
    name: one.name,
    ...(one.description == null ? {} : { description: one.description }),
    ...(one.parameters == null ? {} : { parameters: one.parameters }),
  }));
  const common = { templateTools: given, tools, isParallel: request.parallel_tool_calls ?? true };
  if (choice === "auto") return { ...common, choice, forced: [] };
  if (choice === "required") return { ...common, choice, forced: tools };
  const { name } = choice.function;
  const forced = tools.filter((tool) => tool.name === name);
  if (forced.length > 0) return { ...common, choice: "named", forced: forced.slice(0, 1) };
  const known = tools.map((tool) => tool.name).join(", ").slice(0, 200);
  throw invalid("tool_choice", `tool_choice names ${name}, but the tools are ${known}`);
}

/**
 * The refusal of a type of tool that its API's makers run themselves, or that calls without a
 * schema.
 *
 * @param taken the type of those that clients run.
 */
export function builtInTool(param: string, type: string, taken: string): RequestError {
  return unsupported(
    param,
    `${param} ${quoted(type)} is not supported: this server has no tools of its own, and takes ` +
      `"${taken}"`,
  );
}
