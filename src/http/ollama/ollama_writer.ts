import type { Choice } from "../answer/choice_writer.ts";
import { type ChatPart, ChatPartReader } from "../chat/chat_parts.ts";
import type { ResponseWriter, RunningJob } from "../answer/job.ts";
import { ollamaErrorBody } from "./ollama_errors.ts";

/** Whose answers: a message of a chat, or a text. */
export type OllamaKind = "chat" | "generate";

/** Ollama's answers: one JSON, or one object per line, the last of which has the counts. */
export function ollamaWriter(kind: OllamaKind): ResponseWriter {
  return {
    style: { namesEvents: false, endsWithDone: false, isLines: true },
    takesDeltas: true,
    whole: (running, choices) => {
      const reader = new ChatPartReader();
      const parts = choices.flatMap((choice) => reader.read(choice));
      return {
        ...head(running),
        ...bodyOf(kind, parts),
        ...logprobsOf(choices),
        ...endOf(running, parts),
        ...running.explanation(),
      };
    },
    events: (running) => {
      const reader = new ChatPartReader();
      let end: readonly ChatPart[] = [];
      return {
        begin: () => [],
        next: (choices) =>
          choices.flatMap((choice) => {
            const parts = reader.read(choice);
            if (parts.some(({ type }) => type === "end")) end = parts;
            const logprobs = logprobsOf([choice]);
            const isSilent = parts.every(({ type }) => type === "end");
            if (isSilent && Object.keys(logprobs).length === 0) return [];
            return [{ ...head(running), ...bodyOf(kind, parts), ...logprobs, done: false }];
          }),
        end: () => [
          {
            ...head(running),
            ...bodyOf(kind, []),
            ...endOf(running, end),
            ...running.explanation(),
          },
        ],
        fail: (error) => [ollamaErrorBody(error)],
      };
    },
  };
}

/** The answer to a request without a prompt, by which clients load a model. */
export function loadedAnswer(kind: OllamaKind, model: string): object {
  return {
    model,
    created_at: new Date().toISOString(),
    ...bodyOf(kind, []),
    done: true,
    done_reason: "load",
  };
}

function head({ envelope }: RunningJob) {
  return { model: envelope.model, created_at: new Date().toISOString() };
}

function bodyOf(kind: OllamaKind, parts: readonly ChatPart[]) {
  const textOf = (type: "text" | "thought") =>
    parts.map((part) => part.type === type ? part.text : "").join("");
  const thought = textOf("thought");
  const thinking = thought === "" ? {} : { thinking: thought };
  if (kind === "generate") return { response: textOf("text"), ...thinking };
  const calls = parts.filter((part) => part.type === "call").map((
    { id, name, ...call },
    index,
  ) => ({
    id,
    function: { index, name, arguments: argumentsOf(call.arguments) },
  }));
  return {
    message: {
      role: "assistant",
      content: textOf("text"),
      ...thinking,
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
    },
  };
}

/** The arguments of a call as a value; of one that was cut off, none. */
function argumentsOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function logprobsOf(choices: readonly Choice[]) {
  const logprobs = choices.flatMap(({ logprobs }) =>
    (logprobs as { readonly content: readonly unknown[] } | null | undefined)?.content ?? []
  );
  return logprobs.length === 0 ? {} : { logprobs };
}

/** Reason, counts, and times in ns. */
function endOf({ job, collector }: RunningJob, parts: readonly ChatPart[]) {
  const end = parts.find((part) => part.type === "end");
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = collector.usage();
  const { promptMs, predictedMs } = job.meter.times();
  return {
    done: true,
    done_reason: end?.reason === "length" ? "length" : "stop",
    total_duration: nanoseconds(job.meter.elapsedMs()),
    load_duration: 0,
    prompt_eval_count: prompt_tokens,
    prompt_eval_cached_count: prompt_tokens_details.cached_tokens,
    prompt_eval_duration: nanoseconds(promptMs),
    eval_count: completion_tokens,
    eval_duration: nanoseconds(predictedMs),
  };
}

function nanoseconds(ms: number): number {
  return Math.round(ms * 1e6);
}
