/** One prompt of `tests/golden/demo_golden.json`; the fields these tests read. */
export interface GoldenPrompt {
  readonly id: string;
  readonly type: "raw" | "chat";
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
  /** The text that is encoded: the raw text or the rendered chat. */
  readonly prompt: string;
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly greedy_text: string;
}

/** The reference prompts of the bundled model, made with the libraries alone. */
export const GOLDEN_PROMPTS: readonly GoldenPrompt[] = JSON.parse(
  Deno.readTextFileSync(new URL("../golden/demo_golden.json", import.meta.url)),
).prompts;
