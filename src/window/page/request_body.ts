import { type Message, SAMPLER_FIELDS, type Settings } from "./conversation.ts";

/** Whether what there is of an answer can be continued: a thought or a grammar begins anew. */
export function isContinuable({ content }: Message, settings: Settings): boolean {
  return content !== "" && settings.format === undefined;
}

/**
 * The body of `POST /v1/chat/completions` that answers a conversation.
 *
 * @param path the messages up to the answer; an answer with content as the last one is continued.
 * @throws {Error} for a schema that is no JSON, in a sentence.
 */
export function requestBody(path: readonly Message[], settings: Settings): Record<string, unknown> {
  const continues = path.at(-1)?.role === "assistant";
  const system = settings.system?.trim() ?? "";
  return {
    messages: [
      ...(system === "" ? [] : [{ role: "system", content: system }]),
      ...path.map(({ role, content }) => ({ role, content })),
    ],
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true },
    explain: true,
    timings: true,
    ...(continues ? { continue_final_message: true, add_generation_prompt: false } : {}),
    ...samplerOf(settings),
    ...(settings.thinking === undefined
      ? {}
      : { chat_template_kwargs: { enable_thinking: settings.thinking } }),
    ...formatOf(settings),
  };
}

function samplerOf(settings: Settings): Record<string, unknown> {
  const stop = (settings.stop ?? "").split("\n").filter((line) => line !== "");
  const given = SAMPLER_FIELDS.filter((name) => settings[name] !== undefined);
  return {
    ...Object.fromEntries(given.map((name) => [name, settings[name]])),
    ...(stop.length === 0 ? {} : { stop }),
  };
}

function formatOf({ format, schema }: Settings): Record<string, unknown> {
  if (format === "json") return { response_format: { type: "json_object" } };
  if (format !== "schema") return {};
  const json_schema = { name: "answer", schema: readSchema(schema ?? "") };
  return { response_format: { type: "json_schema", json_schema } };
}

function readSchema(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`The JSON schema cannot be read: ${(error as Error).message}`);
  }
}
