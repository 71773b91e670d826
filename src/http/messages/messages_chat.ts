import type { Chat, ChatPrompt } from "../chat/chat_job.ts";
import { extrasOf } from "../fields/extra_fields.ts";
import { schemaConstraint } from "../fields/grammar_fields.ts";
import { invalid, quoted, required } from "../refusals.ts";
import type { ServedModel } from "../services.ts";
import { type TemplateVariables, templateVariablesOf } from "../fields/thinking_fields.ts";
import { builtInTool, type ToolFields, type ToolUse, toolUseOf } from "../fields/tool_fields.ts";
import { toConversation } from "./messages_input.ts";
import type { MessagesPrompt, MessagesRequest } from "./messages_schema.ts";

/** Variables by which templates are told whether to think. */
const SWITCHES = ["enable_thinking", "thinking"];

/**
 * A request of `/v1/messages` as a chat. Clients have to name `max_tokens` and name large numbers,
 * so it is a bound that the context may undercut.
 *
 * @throws {RequestError} naming what is not supported, or contradicts itself.
 */
export function toChat(request: MessagesRequest, model: ServedModel): Chat {
  const { temperature, top_p, stop_sequences: stop, stream, thinking } = request;
  const asks = asksForThoughts(request);
  const budget = asks && model.thinking !== undefined ? thinking?.budget_tokens : null;
  const fields = {
    ...extrasOf(request),
    ...{ temperature, top_p, stop, stream },
    include_reasoning: asks && thinking?.display !== "omitted",
    thinking_token_budget: budget,
  };
  const format = request.output_config?.format;
  return {
    ...toPrompt(request, model),
    fields,
    constraint: format
      ? schemaConstraint(format.schema, "output_config.format", fields)
      : undefined,
    maxTokens: request.max_tokens,
    isCutToContext: true,
    numLogprobs: undefined,
  };
}

/** The part of a request that its prompt is made of. */
export function toPrompt(request: MessagesPrompt, model: ServedModel): ChatPrompt {
  const { messages, isOpen } = toConversation(request, model);
  return {
    messages,
    ...(isOpen ? { closing: { addGenerationPrompt: false, continueFinalMessage: true } } : {}),
    use: toUse(request),
    variables: variablesOf(request, model),
    foldsLateSystem: true,
    source: "messages",
  };
}

/**
 * A model thinks when it is asked to: without `thinking`, a template that can be told so is told
 * not to think.
 */
function variablesOf(request: MessagesPrompt, model: ServedModel): TemplateVariables {
  const asks = asksForThoughts(request);
  const read = model.templateVariables ?? [];
  const effort = { reasoning_effort: readsEffort(model) ? request.output_config?.effort : null };
  const variables = templateVariablesOf(effort, model, "output_config.effort");
  const switches = SWITCHES.filter((name) => read.includes(name));
  return { ...variables, ...Object.fromEntries(switches.map((name) => [name, asks])) };
}

/**
 * Fields that say how much the model may think, and of which this one cannot be told: agents send
 * them to every model, and it answers as it does. Clients are told of them.
 */
export function ignoredFields(request: MessagesPrompt, model: ServedModel): string[] {
  const effort = request.output_config?.effort ?? "none";
  return [
    ...(asksForThoughts(request) && model.thinking === undefined ? ["thinking"] : []),
    ...(effort !== "none" && !readsEffort(model) ? ["output_config.effort"] : []),
  ];
}

function readsEffort({ templateVariables = [] }: ServedModel): boolean {
  return templateVariables.includes("reasoning_effort");
}

function asksForThoughts({ thinking }: MessagesPrompt): boolean {
  return thinking !== undefined && thinking !== null && thinking.type !== "disabled";
}

function toUse({ tools, tool_choice: choice }: MessagesPrompt): ToolUse | undefined {
  return toolUseOf({
    tools: tools?.map(({ type, name, description, input_schema }, i) => {
      const kind = type ?? "custom";
      if (kind !== "custom") throw builtInTool(`tools.${i}.type`, kind, "custom");
      const parameters = required(input_schema, `tools.${i}.input_schema`);
      const named = required(name, `tools.${i}.name`);
      return { type: "function", function: { name: named, description, parameters } };
    }),
    tool_choice: toChoice(choice),
    parallel_tool_calls: choice?.disable_parallel_tool_use !== true,
  });
}

function toChoice(choice: MessagesPrompt["tool_choice"]): ToolFields["tool_choice"] {
  if (choice === undefined || choice === null) return undefined;
  const { type, name } = choice;
  if (type === "tool") {
    return { type: "function", function: { name: required(name, "tool_choice.name") } };
  }
  if (name !== undefined && name !== null) {
    throw invalid("tool_choice.name", `tool_choice.name needs the type tool, got ${quoted(type)}`);
  }
  return type === "any" ? "required" : type;
}
