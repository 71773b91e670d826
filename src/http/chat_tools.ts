import { RequestError } from "../core/errors.ts";
import type { AnswerFormat } from "./answer_format.ts";
import { type AskedFormat, checkGrammarFields } from "./grammar_fields.ts";
import { invalid, unsupported } from "./refusals.ts";
import type { ToolPort } from "./services.ts";
import { withToolCalls } from "./tool_answers.ts";
import type { ToolUse } from "./tool_fields.ts";

/** What the tools of a request change about its answer. */
export interface ChatTools {
  /** A grammar that forces a call; absent where the model is free. */
  readonly asked: AskedFormat | undefined;
  /** Takes the calls out of the answers' texts. */
  readonly wrap: (format: AnswerFormat) => AnswerFormat;
}

/**
 * How the calls of a request are forced and found.
 *
 * @param asked a format that the request asks for as well.
 * @throws {RequestError} where a call is forced and a format asked for, or where none is forced and
 * the model's chat template knows no tools.
 */
export function chatTools(
  use: ToolUse,
  asked: AskedFormat | undefined,
  request: Readonly<Record<string, unknown>>,
  port: ToolPort,
): ChatTools {
  const { createCallId } = port;
  if (use.choice === "auto") {
    if (port.format === undefined) throw noToolTemplate();
    const createParser = () => port.createParser(use.tools);
    const options = { createParser, createCallId, finishReason: "tool_calls" } as const;
    // An answer that has to match a format is that, and no call.
    return { asked, wrap: (format) => asked ? format : withToolCalls(format, options) };
  }
  if (asked !== undefined) {
    throw invalid(
      asked.param,
      `${asked.param} and a tool_choice that forces a call exclude each other`,
    );
  }
  checkGrammarFields(request, "tool_choice");
  const isNamed = use.choice === "named";
  const forced = port.force(use.forced, { isNamed, isParallel: use.isParallel });
  const finishReason = isNamed ? "stop" : "tool_calls";
  const options = { createParser: forced.createParser, createCallId, finishReason } as const;
  return {
    asked: { format: forced.format, param: "tools" },
    wrap: (format) => withToolCalls(format, options),
  };
}

function noToolTemplate(): RequestError {
  return unsupported(
    "tools",
    'The model\'s chat template knows no tools: send tool_choice "required" or name one, or start ' +
      "the server with --tool-call-parser",
  );
}
