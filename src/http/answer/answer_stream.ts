import type { Context } from "hono";
import type { Generation } from "../../core/generation.ts";
import { DeltaChoices } from "./delta_choices.ts";
import { OPENAI_WRITER } from "../openai/openai_writer.ts";
import { isServerFailure, toErrorData } from "../error_response.ts";
import type { AnswerEvents, RunningJob } from "./job.ts";
import type { Services } from "../services.ts";
import { type SseWriter, streamSse } from "./sse.ts";

/** Streams a generation in its job's events, and aborts it when the client disconnects. */
export function answerAsStream(
  c: Context,
  { limits, log }: Services,
  running: RunningJob,
  generation: Generation,
): Response {
  const writer = running.job.responseWriter ?? OPENAI_WRITER;
  const events = writer.events(running);
  let isGone = false;
  return streamSse(c, limits.keepAliveMs, {
    onGone: () => {
      isGone = true;
      generation.abort();
    },
    write: async (sse) => {
      let status = 200;
      try {
        await writeEvents(sse, events, running, generation);
      } catch (error) {
        // The status line has been sent: the error goes out as an event, which clients raise.
        const data = toErrorData(error);
        status = data.status;
        if (isServerFailure(error)) {
          log.error("stream failed", { request_id: c.get("requestId"), error });
        }
        if (!isGone) running.logFailure(error);
        await sse.send(events.fail(data));
      }
      await sse.done();
      running.logEnd(isGone ? 499 : status);
    },
  }, writer.style);
}

async function writeEvents(
  sse: SseWriter,
  events: AnswerEvents,
  { job, collector }: RunningJob,
  generation: Generation,
): Promise<void> {
  const deltas = new DeltaChoices(job.choiceWriter);
  await sse.send(events.begin());
  for await (const pieces of collector.pieces(generation)) {
    const choices = deltas.of(pieces);
    if (choices.length > 0) await sse.send(events.next(choices));
  }
  await sse.send(events.end());
}
