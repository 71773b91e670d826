import { RequestError } from "../../core/errors.ts";
import type { ChoiceWriter } from "../answer/choice_writer.ts";
import { checkGrammarFields, type OutputConstraint } from "../fields/grammar_fields.ts";
import { invalid, unsupported } from "../refusals.ts";
import type { ToolPort } from "../services.ts";
import { withToolCalls } from "./tool_answers.ts";
import type { ToolUse } from "../fields/tool_fields.ts";

/** What the tools of a request change about its answer. */
export interface ChatTools {
  /** A grammar that forces a call; absent where the model is free. */
  readonly constraint: OutputConstraint | undefined;
  /** Takes the calls out of the answers' texts. */
  readonly wrap: (writer: ChoiceWriter) => ChoiceWriter;
}

/**
 * How the calls of a request are forced and found.
 *
 * @param constraint one that the request asks for as well.
 * @throws {RequestError} where a call is forced beside a constraint, or where none is and the
 * model's chat template knows no tools.
 */
export function chatTools(
  use: ToolUse,
  constraint: OutputConstraint | undefined,
  request: Readonly<Record<string, unknown>>,
  port: ToolPort,
): ChatTools {
  const { createCallId } = port;
  if (use.choice === "auto") {
    if (port.notation === undefined) throw noToolTemplate();
    const createParser = () => port.createParser(use.tools);
    const options = { createParser, createCallId, finishReason: "tool_calls" } as const;
    // An answer under a constraint is that, and no call.
    return { constraint, wrap: (writer) => constraint ? writer : withToolCalls(writer, options) };
  }
  if (constraint !== undefined) {
    throw invalid(
      constraint.param,
      `${constraint.param} and a tool_choice that forces a call exclude each other`,
    );
  }
  checkGrammarFields(request, "tool_choice");
  const isNamed = use.choice === "named";
  const forced = port.force(use.forced, { isNamed, isParallel: use.isParallel });
  const finishReason = isNamed ? "stop" : "tool_calls";
  const options = { createParser: forced.createParser, createCallId, finishReason } as const;
  return {
    constraint: { format: forced.format, param: "tools" },
    wrap: (writer) => withToolCalls(writer, options),
  };
}

function noToolTemplate(): RequestError {
  return unsupported(
    "tools",
    'The model\'s chat template knows no tools: send tool_choice "required" or name one, or start ' +
      "the server with --tool-call-parser",
  );
}
