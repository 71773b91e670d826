import type { Context } from "hono";
import type { Generation } from "../../core/generation.ts";
import type { TokenId } from "../../core/ids.ts";
import type { Choice } from "./choice_writer.ts";
import { OPENAI_WRITER } from "../openai/openai_writer.ts";
import { DeltaChoices } from "./delta_choices.ts";
import { toErrorData } from "../error_response.ts";
import type { RunningJob } from "./job.ts";
import type { ScoredToken, SequenceFinish } from "./sequence_text.ts";

/** Collects a generation and answers with all of it; aborts it when the client disconnects. */
export async function answerInOnePiece(
  c: Context,
  running: RunningJob,
  generation: Generation,
): Promise<Response> {
  const { job, logEnd } = running;
  const { signal } = c.req.raw;
  let isGone = signal.aborted;
  function leave(): void {
    isGone = true;
    generation.abort();
  }
  if (isGone) generation.abort();
  signal.addEventListener("abort", leave, { once: true });
  const writer = job.responseWriter ?? OPENAI_WRITER;
  const collect = writer.takesDeltas === true ? collectDeltas : collectWholes;
  let answer: object;
  try {
    answer = writer.whole(running, await collect(running, generation));
  } catch (error) {
    if (!isGone) running.logFailure(error);
    logEnd(isGone ? 499 : toErrorData(error).status);
    throw error;
  } finally {
    // Without --unstable-no-legacy-abort Deno aborts the signal after a normal answer as well.
    signal.removeEventListener("abort", leave);
  }
  logEnd(isGone ? 499 : 200);
  return c.json(answer);
}

/** All choices of the stream that there might have been. */
async function collectDeltas(
  { collector, job }: RunningJob,
  generation: Generation,
): Promise<Choice[]> {
  const deltas = new DeltaChoices(job.choiceWriter);
  const choices: Choice[] = [];
  for await (const pieces of collector.pieces(generation)) choices.push(...deltas.of(pieces));
  return choices;
}

async function collectWholes(
  { collector, job }: RunningJob,
  generation: Generation,
): Promise<Choice[]> {
  const parts = Array.from({ length: job.sequences.length }, (_, index) => ({
    index,
    texts: [] as string[],
    tokenIds: [] as TokenId[],
    scored: [] as ScoredToken[],
    finish: undefined as SequenceFinish | undefined,
  }));
  for await (const pieces of collector.pieces(generation)) {
    for (const piece of pieces) {
      job.choiceWriter.observe?.(piece);
      const { index, text, tokenIds, scored, finish } = piece;
      const part = parts[index]!;
      part.texts.push(text);
      part.tokenIds.push(...tokenIds);
      part.scored.push(...scored);
      part.finish = finish;
    }
  }
  return parts.map(({ index, texts, tokenIds, scored, finish }) =>
    job.choiceWriter.wholeChoice({ index, text: texts.join(""), tokenIds, scored, finish: finish! })
  );
}
