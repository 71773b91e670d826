import type { Context } from "hono";
import type { Generation } from "../core/generation.ts";
import type { Choice } from "./answer_format.ts";
import { errorBody, isServerFailure, toErrorData } from "./error_response.ts";
import { type Run, usageOf } from "./job.ts";
import type { TextPiece } from "./sequence_text.ts";
import type { Services } from "./services.ts";
import { type SseWriter, streamSse } from "./sse.ts";

/** Streams a generation as chunks, and aborts it when the client disconnects. */
export function answerAsStream(
  c: Context,
  { limits, log }: Services,
  run: Run,
  generation: Generation,
): Response {
  let isGone = false;
  return streamSse(c, limits.keepAliveMs, {
    onGone: () => {
      isGone = true;
      generation.abort();
    },
    write: async (sse) => {
      let status = 200;
      try {
        await writeChunks(sse, run, generation);
      } catch (error) {
        // The status line has been sent: the error goes out as an event, which clients raise.
        const data = toErrorData(error);
        status = data.status;
        if (isServerFailure(error)) {
          log.error("stream failed", { request_id: c.get("requestId"), error });
        }
        run.logFailure(error);
        await sse.send([errorBody(data)]);
      }
      await sse.done();
      run.logEnd(isGone ? 499 : status);
    },
  });
}

async function writeChunks(
  sse: SseWriter,
  run: Run,
  generation: Generation,
): Promise<void> {
  const { job, collector } = run;
  const options = job.request.stream_options;
  const includesUsage = options?.include_usage === true;
  const isContinuous = includesUsage && options?.continuous_usage_stats === true;
  const started = new Set<number>();
  let firstFields = job.format.firstFields;

  for await (const pieces of collector.pieces(generation)) {
    for (const piece of pieces) job.format.observe?.(piece);
    const choices = pieces.flatMap((piece) => choicesOf(piece, run, started));
    if (choices.length === 0) continue;
    const usage = isContinuous ? usageOf(run) : null;
    await sse.send(choices.map((choice) => {
      const chunk = toChunk(run, [choice], { ...firstFields, ...(includesUsage ? { usage } : {}) });
      firstFields = {};
      return chunk;
    }));
  }
  const explanation = run.explanation();
  if (includesUsage || Object.keys(explanation).length > 0) {
    const usage = includesUsage ? { usage: usageOf(run) } : {};
    await sse.send([toChunk(run, [], { ...usage, ...explanation })]);
  }
}

/** The choices that a piece becomes: an opening, its text, its finish, or none. */
function choicesOf(piece: TextPiece, { job }: Run, started: Set<number>): Choice[] {
  const { format } = job;
  const choices: (Choice | undefined)[] = [];
  if (!started.has(piece.index)) {
    started.add(piece.index);
    choices.push(format.openingChoice(piece.index));
  }
  choices.push(...format.textChoices(piece));
  if (piece.finish !== undefined) choices.push(format.finishChoice(piece.index, piece.finish));
  return choices.filter((choice) => choice !== undefined);
}

function toChunk({ job, envelope }: Run, choices: readonly Choice[], fields: object): object {
  const { id, ...origin } = envelope;
  return { id, object: job.format.chunkObject, ...origin, ...fields, choices };
}
