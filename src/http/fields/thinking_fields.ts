import { z } from "zod";
import { RequestError } from "../../core/errors.ts";
import type { GrammarFormat } from "../../core/grammar_format.ts";
import type { SamplingParams } from "../../core/sampling_params.ts";
import { unsupported } from "../refusals.ts";
import type { ServedModel } from "../services.ts";
import type { TextPort } from "../text_port.ts";
import type { ThinkingMarks, ThinkingStart } from "../chat/thinking_parser.ts";

/** Variables of chat templates that a request may set, of all that templates read. */
const ALLOWED = ["enable_thinking", "thinking"] as const;
/** Tokens at the end of a prompt in which a template opens or closes a thought. */
const NUM_LAST_TOKENS = 32;

/** Fields about thinking; null counts as absent. */
export const THINKING_FIELDS = {
  chat_template_kwargs: z.record(z.string().max(64), z.unknown()).nullish(),
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).nullish(),
  include_reasoning: z.boolean().nullish(),
  thinking_token_budget: z.int().min(0).max(2 ** 31 - 1).nullish(),
};

const ThinkingFields = z.looseObject(THINKING_FIELDS);
/** The checked values of {@link THINKING_FIELDS}. */
export type ThinkingFields = z.output<typeof ThinkingFields>;

/** Variables of a chat template, as a request sets them. */
export type TemplateVariables = Readonly<Record<string, boolean | string>>;

/**
 * The template's variables that a request sets, by `chat_template_kwargs` and `reasoning_effort`.
 *
 * @param effortParam what the request's API calls `reasoning_effort`.
 * @throws {RequestError} naming a variable that no request may set, or that the model's template
 * does not read, so that it would be ignored.
 */
export function templateVariablesOf(
  request: ThinkingFields,
  { templateVariables = [], thinking }: Pick<ServedModel, "templateVariables" | "thinking">,
  effortParam = "reasoning_effort",
): TemplateVariables {
  const variables: Record<string, boolean | string> = {};
  for (const [name, value] of Object.entries(request.chat_template_kwargs ?? {})) {
    const param = `chat_template_kwargs.${name}`;
    if (!ALLOWED.some((allowed) => allowed === name)) {
      throw unsupported(param, `${param} is not allowed: requests set ${ALLOWED.join(" and ")}`);
    }
    if (typeof value !== "boolean") {
      throw new RequestError(`${param} must be a boolean, got ${typeof value}`, {
        code: "invalid_type",
        param,
      });
    }
    if (!templateVariables.includes(name)) {
      throw unsupported(param, `${param} is not read by the model's chat template: leave it out`);
    }
    variables[name] = value;
  }
  const { reasoning_effort: effort } = request;
  if (effort === undefined || effort === null) return variables;
  const isHeeded = templateVariables.length > 0 || (effort === "none" && thinking === undefined);
  if (!isHeeded) {
    const reason = "is not read by the model's chat template: leave it out";
    throw unsupported(effortParam, `${effortParam} ${reason}`);
  }
  for (const name of templateVariables) {
    variables[name] ??= name === "reasoning_effort" ? effort : effort !== "none";
  }
  return variables;
}

/** Whether the prompt leaves a thought open, has closed one, or neither. */
export function thinkingStart(
  prompt: Uint32Array,
  text: Pick<TextPort, "tokenBytes">,
  { begin, end }: ThinkingMarks,
): ThinkingStart {
  const bytes = [...prompt.slice(-NUM_LAST_TOKENS)].flatMap((id) => [...text.tokenBytes(id)]);
  const tail = new TextDecoder().decode(Uint8Array.from(bytes)).trimEnd();
  if (tail.endsWith(begin)) return "inside";
  return tail.endsWith(end) ? "behind" : "before";
}

/**
 * The budget of a request's thoughts, for the sequences of a prompt that begins as `start` says.
 *
 * @throws {RequestError} where the model does not think, or answers are searched for.
 */
export async function thinkingBudgetOf(
  request: ThinkingFields,
  thinking: ThinkingMarks | undefined,
  { start, text, vocabSize }: {
    readonly start: ThinkingStart;
    readonly text: Pick<TextPort, "encode">;
    readonly vocabSize: number;
  },
): Promise<Pick<SamplingParams, "thinkingBudget">> {
  const { thinking_token_budget: maxTokens } = request;
  const param = "thinking_token_budget";
  if (maxTokens === undefined || maxTokens === null) return {};
  if (thinking === undefined) {
    throw unsupported(
      param,
      `${param} is not supported by this model: its chat template marks no thoughts`,
    );
  }
  if (request.use_beam_search === true) {
    throw unsupported(param, `${param} is not supported with use_beam_search: leave it out`);
  }
  if (start === "behind") return {};
  const [begin, end] = await text.encode([thinking.begin, thinking.end], {
    addSpecialTokens: false,
  });
  const beginTokens = start === "inside" ? [] : [...begin!];
  return { thinkingBudget: { maxTokens, beginTokens, endTokens: [...end!], vocabSize } };
}

/** A format that begins behind the thinking, which is free. */
export function afterThinking(
  format: GrammarFormat,
  { begin, end }: ThinkingMarks,
  start: ThinkingStart,
): GrammarFormat {
  if (start === "behind") return format;
  const thought = (opening: string): GrammarFormat => ({
    type: "sequence",
    elements: [
      { type: "tag", begin: opening, content: { type: "any_text" }, end },
      { type: "regex", pattern: "[ \\n]{0,4}" },
      format,
    ],
  });
  return start === "inside" ? thought("") : { type: "or", elements: [format, thought(begin)] };
}
