import type { Usage } from "../answer/collector.ts";
import { type RunningJob, usageOf } from "../answer/job.ts";
import type { OutputItem } from "./response_items.ts";
import { repeatedTools } from "./response_tools.ts";
import type { ResponsesRequest } from "./responses_schema.ts";

/** What changes about a response while it is made. */
export interface ResponseProgress {
  readonly status: "in_progress" | "completed" | "incomplete" | "failed";
  readonly output: readonly OutputItem[];
  readonly error?: { readonly code: string; readonly message: string };
  readonly incomplete_details?: { readonly reason: "max_output_tokens" };
}

/** A response with the settings that its request had, or that hold where it had none. */
export function responseObject(
  running: RunningJob,
  request: ResponsesRequest,
  { status, output, error, incomplete_details }: ResponseProgress,
): object {
  const { id, created, model } = running.envelope;
  const isOver = status !== "in_progress";
  return {
    id,
    object: "response",
    created_at: created,
    status,
    completed_at: status === "completed" ? Math.floor(Date.now() / 1000) : null,
    error: error ?? null,
    incomplete_details: incomplete_details ?? null,
    model,
    output,
    usage: isOver ? toUsage(usageOf(running)) : null,
    ...settingsOf(running, request),
    ...(isOver ? running.explanation() : {}),
  };
}

function settingsOf(running: RunningJob, request: ResponsesRequest) {
  const { reasoning, text } = request;
  const { temperature, topP } = running.job.sequences[0]!.params;
  return {
    background: false,
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    max_tool_calls: request.max_tool_calls ?? null,
    metadata: request.metadata ?? {},
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: null,
    prompt_cache_key: request.prompt_cache_key ?? null,
    reasoning: { effort: reasoning?.effort ?? null, summary: summaryOf(request) ?? null },
    safety_identifier: request.safety_identifier ?? null,
    service_tier: "default",
    store: false,
    temperature: request.temperature ?? temperature,
    text: { format: text?.format ?? { type: "text" }, verbosity: "medium" },
    tool_choice: request.tool_choice ?? "auto",
    tools: repeatedTools(request.tools),
    top_logprobs: 0,
    top_p: request.top_p ?? topP,
    truncation: "disabled",
    user: request.user ?? null,
  };
}

/** The kind of summary that a request asks for; absent for none. */
export function summaryOf({ reasoning }: ResponsesRequest): string | undefined {
  return reasoning?.summary ?? reasoning?.generate_summary ?? undefined;
}

function toUsage(usage: Usage & { readonly completion_tokens_details?: unknown }) {
  const details = usage.completion_tokens_details as
    | { readonly reasoning_tokens: number }
    | undefined;
  return {
    input_tokens: usage.prompt_tokens,
    input_tokens_details: {
      cached_tokens: usage.prompt_tokens_details.cached_tokens,
      cache_write_tokens: 0,
    },
    output_tokens: usage.completion_tokens,
    output_tokens_details: { reasoning_tokens: details?.reasoning_tokens ?? 0 },
    total_tokens: usage.total_tokens,
  };
}
