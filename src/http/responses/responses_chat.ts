import type { Chat, ChatPrompt } from "../chat/chat_job.ts";
import { extrasOf } from "../fields/extra_fields.ts";
import { type OutputConstraint, schemaConstraint } from "../fields/grammar_fields.ts";
import { quoted, required, unsupported } from "../refusals.ts";
import type { ServedModel } from "../services.ts";
import { templateVariablesOf } from "../fields/thinking_fields.ts";
import { builtInTool, type ToolFields, type ToolUse, toolUseOf } from "../fields/tool_fields.ts";
import { fullName, toChatTools } from "./response_tools.ts";
import { toMessages } from "./responses_input.ts";
import type { ResponsesPrompt, ResponsesRequest } from "./responses_schema.ts";

/** What may be included in an answer that is there anyway. */
const INCLUDABLE: ReadonlySet<string> = new Set(["reasoning.encrypted_content"]);

/**
 * A request of `/v1/responses` as a chat.
 *
 * @throws {RequestError} naming what is not supported, or contradicts itself.
 */
export function toChat(request: ResponsesRequest, model: ServedModel): Chat {
  checkInclude(request);
  const { temperature, top_p, stop, stream, thinking_token_budget } = request;
  const sampling = { temperature, top_p, stop, stream, thinking_token_budget };
  const fields = { ...extrasOf(request), ...sampling };
  return {
    ...toPrompt(request, model),
    fields,
    constraint: constraintOf(request, fields),
    maxTokens: request.max_output_tokens,
    numLogprobs: undefined,
  };
}

/** The part of a request that its prompt is made of. */
export function toPrompt(request: ResponsesPrompt, model: ServedModel): ChatPrompt {
  checkText(request);
  const { chat_template_kwargs, reasoning } = request;
  const thinking = { chat_template_kwargs, reasoning_effort: reasoning?.effort };
  return {
    messages: toMessages(request, model),
    use: toUse(request),
    variables: templateVariablesOf(thinking, model, "reasoning.effort"),
    foldsLateSystem: true,
    source: "input",
  };
}

function toUse({ tools, tool_choice, parallel_tool_calls }: ResponsesPrompt): ToolUse | undefined {
  return toolUseOf({
    tools: toChatTools(tools),
    tool_choice: toChoice(tool_choice),
    parallel_tool_calls,
  });
}

function toChoice(choice: ResponsesPrompt["tool_choice"]): ToolFields["tool_choice"] {
  if (typeof choice !== "object" || choice === null) return choice;
  if (choice.type !== "function") throw builtInTool("tool_choice.type", choice.type, "function");
  const { namespace } = choice;
  const name = fullName({ name: required(choice.name, "tool_choice.name"), namespace });
  return { type: "function", function: { name } };
}

function constraintOf(
  { text }: ResponsesRequest,
  fields: Chat["fields"],
): OutputConstraint | undefined {
  const format = text?.format;
  if (format === undefined || format === null || format.type === "text") return undefined;
  const schema = format.type === "json_object"
    ? undefined
    : required(format.schema, "text.format.schema");
  return schemaConstraint(schema, "text.format", fields);
}

function checkText({ text }: ResponsesPrompt): void {
  const verbosity = text?.verbosity ?? "medium";
  if (verbosity === "medium") return;
  const param = "text.verbosity";
  throw unsupported(
    param,
    `${param} is not supported by this server: leave it out, or send "medium"`,
  );
}

function checkInclude({ include }: ResponsesRequest): void {
  for (const [i, name] of (include ?? []).entries()) {
    if (INCLUDABLE.has(name)) continue;
    const param = `include.${i}`;
    const known = [...INCLUDABLE].join(", ");
    throw unsupported(param, `${param} ${quoted(name)} is not supported: include takes ${known}`);
  }
}
