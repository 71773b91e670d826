import type { Choice } from "./answer_format.ts";
import { errorBody } from "./error_response.ts";
import { type AnswerShape, type Run, usageOf } from "./job.ts";

/** OpenAI's answers with `choices`, of chat and completions: one JSON, or a chunk per choice. */
export const CHOICES: AnswerShape = {
  style: { namesEvents: false, endsWithDone: true },
  whole: (run, choices) => {
    const { id, ...origin } = run.envelope;
    const { object, firstFields, wholeFields } = run.job.format;
    const more = { ...wholeFields?.(), ...run.explanation() };
    return { id, object, ...origin, ...firstFields, choices, usage: usageOf(run), ...more };
  },
  events: (run) => {
    const options = run.job.request.stream_options;
    const includesUsage = options?.include_usage === true;
    const isContinuous = includesUsage && options?.continuous_usage_stats === true;
    let firstFields = run.job.format.firstFields;
    return {
      begin: () => [],
      next: (choices) => {
        const usage = includesUsage ? { usage: isContinuous ? usageOf(run) : null } : {};
        return choices.map((choice) => {
          const chunk = toChunk(run, [choice], { ...firstFields, ...usage });
          firstFields = {};
          return chunk;
        });
      },
      end: () => {
        const explanation = run.explanation();
        if (!includesUsage && Object.keys(explanation).length === 0) return [];
        const usage = includesUsage ? { usage: usageOf(run) } : {};
        return [toChunk(run, [], { ...usage, ...explanation })];
      },
      fail: (error) => [errorBody(error)],
    };
  },
};

function toChunk({ job, envelope }: Run, choices: readonly Choice[], fields: object): object {
  const { id, ...origin } = envelope;
  return { id, object: job.format.chunkObject, ...origin, ...fields, choices };
}
