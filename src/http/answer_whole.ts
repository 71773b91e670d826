import type { Context } from "hono";
import type { Generation } from "../core/generation.ts";
import type { TokenId } from "../core/ids.ts";
import type { WholeText } from "./answer_format.ts";
import { CHOICES } from "./choices_shape.ts";
import type { Run } from "./job.ts";
import type { ScoredToken, SequenceFinish } from "./sequence_text.ts";

/** Collects a generation and answers with all of it; aborts it when the client disconnects. */
export async function answerInOnePiece(
  c: Context,
  run: Run,
  generation: Generation,
): Promise<Response> {
  const { job, logEnd } = run;
  const { signal } = c.req.raw;
  let isGone = signal.aborted;
  function leave(): void {
    isGone = true;
    generation.abort();
  }
  if (isGone) generation.abort();
  signal.addEventListener("abort", leave, { once: true });
  let wholes: WholeText[];
  try {
    wholes = await collectWholes(run, generation);
  } catch (error) {
    run.logFailure(error);
    throw error;
  } finally {
    // Deno aborts the signal after a normal answer as well; by then nobody listens any more.
    signal.removeEventListener("abort", leave);
  }
  logEnd(isGone ? 499 : 200);
  const choices = wholes.map((whole) => job.format.wholeChoice(whole));
  return c.json((job.shape ?? CHOICES).whole(run, choices));
}

async function collectWholes(
  { collector, job }: Run,
  generation: Generation,
): Promise<WholeText[]> {
  const parts = Array.from({ length: job.sequences.length }, (_, index) => ({
    index,
    texts: [] as string[],
    tokenIds: [] as TokenId[],
    scored: [] as ScoredToken[],
    finish: undefined as SequenceFinish | undefined,
  }));
  for await (const pieces of collector.pieces(generation)) {
    for (const piece of pieces) {
      job.format.observe?.(piece);
      const { index, text, tokenIds, scored, finish } = piece;
      const part = parts[index]!;
      part.texts.push(text);
      part.tokenIds.push(...tokenIds);
      part.scored.push(...scored);
      part.finish = finish;
    }
  }
  return parts.map(({ index, texts, tokenIds, scored, finish }) => ({
    index,
    text: texts.join(""),
    tokenIds,
    scored,
    finish: finish!,
  }));
}
