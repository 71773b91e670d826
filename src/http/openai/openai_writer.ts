import type { Choice } from "../answer/choice_writer.ts";
import { errorBody } from "../error_response.ts";
import { type ResponseWriter, type RunningJob, usageOf } from "../answer/job.ts";

/** OpenAI's answers with `choices`, of chat and completions: one JSON, or a chunk per choice. */
export const OPENAI_WRITER: ResponseWriter = {
  style: { namesEvents: false, endsWithDone: true },
  whole: (running, choices) => {
    const { id, ...origin } = running.envelope;
    const { object, firstFields, wholeFields } = running.job.choiceWriter;
    const more = { ...wholeFields?.(), ...running.explanation() };
    return { id, object, ...origin, ...firstFields, choices, usage: usageOf(running), ...more };
  },
  events: (running) => {
    const options = running.job.request.stream_options;
    const includesUsage = options?.include_usage === true;
    const isContinuous = includesUsage && options?.continuous_usage_stats === true;
    let firstFields = running.job.choiceWriter.firstFields;
    return {
      begin: () => [],
      next: (choices) => {
        const usage = includesUsage ? { usage: isContinuous ? usageOf(running) : null } : {};
        return choices.map((choice) => {
          const chunk = toChunk(running, [choice], { ...firstFields, ...usage });
          firstFields = {};
          return chunk;
        });
      },
      end: () => {
        const explanation = running.explanation();
        if (!includesUsage && Object.keys(explanation).length === 0) return [];
        const usage = includesUsage ? { usage: usageOf(running) } : {};
        return [toChunk(running, [], { ...usage, ...explanation })];
      },
      fail: (error) => [errorBody(error)],
    };
  },
};

function toChunk(
  { job, envelope }: RunningJob,
  choices: readonly Choice[],
  fields: object,
): object {
  const { id, ...origin } = envelope;
  return { id, object: job.choiceWriter.chunkObject, ...origin, ...fields, choices };
}
