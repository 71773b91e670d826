import { RequestError } from "../core/errors.ts";
import { ControlTokenMask, type Placeholders } from "./control_tokens.ts";
import {
  parseTemplate,
  type RenderLimits,
  type RenderOutcome,
  renderTemplate,
} from "./template_renderer.ts";

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
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
  readonly messages: readonly ChatMessage[];
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
 * writes the real ones around it, so that only the real ones are found in the result. Contents
 * without control tokens are passed unchanged. Roles come from the server's schema.
 */
export class Conversation {
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
  render({ messages, variables, limits, nowMs }: RenderRequest): ConversationOutcome {
    try {
      const contents = messages.map(({ content }) => content);
      const around = [this.#source, JSON.stringify(variables)];
      const { texts, placeholders } = this.#mask.mask(contents, around);
      const masked = messages.map((message, i) => ({ ...message, content: texts[i]! }));
      const seen = { ...variables, messages: masked };
      const outcome = renderTemplate(this.#program, seen, limits, new Date(nowMs));
      return outcome.type === "rendered" ? { ...outcome, placeholders } : outcome;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      return { type: "refused", message: error.message };
    }
  }
}
