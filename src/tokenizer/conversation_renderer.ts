import { RequestError } from "../core/errors.ts";
import { ControlTokenMask, type Placeholders } from "./control_tokens.ts";
import {
  parseTemplate,
  type RenderLimits,
  type RenderOutcome,
  renderTemplate,
} from "./template_renderer.ts";

/** One turn of a conversation, as a template reads it. */
export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
  /** Further fields that templates read: calls, and what a tool's message answers. */
  readonly tool_calls?: readonly unknown[];
  readonly reasoning_content?: string;
  readonly tool_call_id?: string;
  readonly name?: string;
}

/** The template that a Worker loads. */
export interface TemplateSource {
  /** The template, in Jinja. */
  readonly source: string;
  /** Texts of the vocabulary's control tokens; in a message they are text. */
  readonly controlTokens: readonly string[];
}

/** One render: what the template sees. */
export interface RenderRequest {
  readonly messages: readonly TemplateMessage[];
  /** Tools of the request, data of the client like the messages. */
  readonly tools?: readonly unknown[];
  /** The other variables of the template. */
  readonly variables: Readonly<Record<string, unknown>>;
  readonly limits: RenderLimits;
  /** The time that `strftime_now` tells, ms since 1970. */
  readonly nowMs: number;
}

/** How the render of a conversation ended; data, since it crosses from a Worker. */
export type ConversationOutcome =
  | { readonly type: "rendered"; readonly text: string; readonly placeholders: Placeholders }
  /** `refused`: this server refuses, not the template, with a sentence of its own. */
  | { readonly type: "refused"; readonly message: string }
  | Exclude<RenderOutcome, { type: "rendered" }>;

/**
 * A parsed template that renders conversations.
 *
 * Control tokens in a message are text: the template gets the content with placeholders in them and
 * writes the real ones around it, so that only the real ones are found in the result. Texts
 * without control tokens are passed unchanged. The same holds for tools and their calls.
 */
export class ConversationRenderer {
  readonly #program: ReturnType<typeof parseTemplate>;
  readonly #source: string;
  readonly #mask: ControlTokenMask;

  /** @throws {Error} the library's, for bad syntax. */
  constructor({ source, controlTokens }: TemplateSource) {
    this.#program = parseTemplate(source);
    this.#source = source;
    this.#mask = new ControlTokenMask(controlTokens);
  }

  /** Renders within the request's limits; never throws. */
  render({ messages, tools, variables, limits, nowMs }: RenderRequest): ConversationOutcome {
    try {
      const given = tools === undefined ? { messages } : { messages, tools };
      const around = [this.#source, JSON.stringify(variables)];
      const { texts, placeholders } = this.#mask.mask(textsIn(given), around);
      const seen = { ...variables, ...withTexts(given, texts.values()) as typeof given };
      const outcome = renderTemplate(this.#program, seen, limits, new Date(nowMs));
      return outcome.type === "rendered" ? { ...outcome, placeholders } : outcome;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      return { type: "refused", message: error.message };
    }
  }
}

/** The texts in a value of JSON, names included, in the order of {@link withTexts}. */
function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...textsIn(inner)]);
}

/** The value with other texts in place of its own. */
function withTexts(value: unknown, texts: Iterator<string>): unknown {
  if (typeof value === "string") return texts.next().value;
  if (Array.isArray(value)) return value.map((one) => withTexts(one, texts));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.values(value).map((inner) => [texts.next().value, withTexts(inner, texts)]),
  );
}
