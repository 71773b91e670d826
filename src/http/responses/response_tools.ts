import { required } from "../refusals.ts";
import { builtInTool, type ToolFields } from "../fields/tool_fields.ts";
import type { FunctionTool, ResponsesPrompt } from "./responses_schema.ts";

type Tools = ResponsesPrompt["tools"];
type ChatTool = NonNullable<ToolFields["tools"]>[number];

/** A function as a request names it: by itself, or within a namespace. */
export interface FunctionName {
  readonly name: string;
  readonly namespace?: string | null | undefined;
}

/** The one name under which the model knows a function. */
export function fullName({ name, namespace }: FunctionName): string {
  return namespace === undefined || namespace === null ? name : `${namespace}.${name}`;
}

/** Every function of a request, also those in namespaces, as chats have them. */
export function toChatTools(tools: Tools): ChatTool[] | undefined {
  return tools?.flatMap((tool, i) => {
    const param = `tools.${i}`;
    if (tool.type !== "namespace") return [toChatTool(tool, param)];
    const namespace = required(tool.name, `${param}.name`);
    const inner = required(tool.tools, `${param}.tools`);
    return inner.map((one, j) => toChatTool(one, `${param}.tools.${j}`, namespace));
  });
}

/** How a request names the functions that lie in namespaces, by their full names. */
export function namespacedOf(tools: Tools): ReadonlyMap<string, FunctionName> {
  const names = (tools ?? []).flatMap(({ type, name: namespace, tools: inner }) =>
    type === "namespace" ? (inner ?? []).map(({ name }) => ({ name: name!, namespace })) : []
  );
  return new Map(names.map((name) => [fullName(name), name]));
}

/** The tools of a request as its answer repeats them. */
export function repeatedTools(tools: Tools): object[] {
  return (tools ?? []).map((tool) => {
    if (tool.type !== "namespace") return repeatedTool(tool);
    const { type, name, description, tools: inner } = tool;
    return { type, name, description: description ?? null, tools: inner!.map(repeatedTool) };
  });
}

function repeatedTool({ type, name, description, parameters, strict }: FunctionTool): object {
  return {
    ...{ type, name },
    description: description ?? null,
    parameters: parameters ?? null,
    // Calls that are forced are held to the schema; free ones are the model's own.
    strict: strict ?? false,
  };
}

function toChatTool(tool: FunctionTool, param: string, namespace?: string): ChatTool {
  const { type, description, parameters } = tool;
  if (type !== "function") throw builtInTool(`${param}.type`, type, "function");
  const name = fullName({ name: required(tool.name, `${param}.name`), namespace });
  return { type, function: { name, description, parameters } };
}
