import type { z } from "zod";
import { ChatRequest } from "../openai/chat_schema.ts";
import { CompletionsRequest } from "../openai/completions_schema.ts";
import { EmbeddingsRequest } from "../openai/embeddings_route.ts";
import { RerankRequest } from "../openai/rerank_route.ts";
import { ResizeRequest } from "../admin/kv_resize_route.ts";
import { CountTokensRequest, MessagesRequest } from "../messages/messages_schema.ts";
import {
  OllamaChatRequest,
  OllamaEmbeddingRequest,
  OllamaEmbedRequest,
  OllamaGenerateRequest,
  OllamaShowRequest,
} from "../ollama/ollama_schema.ts";
import { PinRequest } from "../admin/pin_route.ts";
import { InputTokensRequest, ResponsesRequest } from "../responses/responses_schema.ts";
import { DetokenizeRequest, TokenizeRequest } from "../openai/tokenize_route.ts";

/** What the document says of an endpoint beyond its method, path and access. */
export interface EndpointDoc {
  readonly summary: string;
  /** Heading under which it stands. */
  readonly tag: string;
  /** The schema that its route reads bodies with. */
  readonly body?: z.ZodType;
  /** Media type of a stream, where it answers with one as well. */
  readonly stream?: string;
  /** Media type of its answers; default: JSON. */
  readonly answer?: string;
}

const OPENAI = "OpenAI";
const EVENTS = "text/event-stream";
const LINES = "application/x-ndjson";

const GENERATION: Readonly<Record<string, EndpointDoc>> = {
  "POST /v1/chat/completions": {
    summary: "Answers a conversation",
    tag: OPENAI,
    body: ChatRequest,
    stream: EVENTS,
  },
  "POST /v1/completions": {
    summary: "Goes on from texts or token ids",
    tag: OPENAI,
    body: CompletionsRequest,
    stream: EVENTS,
  },
  "POST /v1/responses": {
    summary: "Answers in OpenAI's Responses API, without a store",
    tag: OPENAI,
    body: ResponsesRequest,
    stream: EVENTS,
  },
  "POST /v1/responses/input_tokens": {
    summary: "Counts the tokens of a response's prompt",
    tag: OPENAI,
    body: InputTokensRequest,
  },
  "GET /v1/responses/{id}": {
    summary: "404: no response is stored",
    tag: OPENAI,
  },
  "DELETE /v1/responses/{id}": { summary: "404: no response is stored", tag: OPENAI },
  "POST /v1/messages": {
    summary: "Answers in Anthropic's Messages API",
    tag: "Anthropic",
    body: MessagesRequest,
    stream: EVENTS,
  },
  "POST /v1/messages/count_tokens": {
    summary: "Counts the tokens of a message's prompt",
    tag: "Anthropic",
    body: CountTokensRequest,
  },
  "POST /v1/embeddings": {
    summary: "Vectors of texts or token ids",
    tag: OPENAI,
    body: EmbeddingsRequest,
  },
  "POST /v1/rerank": {
    summary: "Ranks documents by how well they answer a query",
    tag: "Ranking",
    body: RerankRequest,
  },
  "POST /v1/chat/completions/render": {
    summary: "The prompt that a conversation becomes, as text and ids",
    tag: "Tokens",
    body: ChatRequest,
  },
  "POST /apply-template": {
    summary: "The prompt that a conversation becomes, as text",
    tag: "Tokens",
    body: ChatRequest,
  },
  "POST /api/embed": {
    summary: "A normalized vector per text",
    tag: "Ollama",
    body: OllamaEmbedRequest,
  },
  "POST /api/embeddings": {
    summary: "The vector of one text",
    tag: "Ollama",
    body: OllamaEmbeddingRequest,
  },
  "POST /api/chat": {
    summary: "Answers a conversation, streamed unless stream is false",
    tag: "Ollama",
    body: OllamaChatRequest,
    stream: LINES,
  },
  "POST /api/generate": {
    summary: "Answers a prompt, streamed unless stream is false",
    tag: "Ollama",
    body: OllamaGenerateRequest,
    stream: LINES,
  },
};

const MODELS: Readonly<Record<string, EndpointDoc>> = {
  "GET /v1/models": { summary: "Lists the served names of the model", tag: OPENAI },
  "GET /v1/models/{name}": { summary: "Describes a model; names may have slashes", tag: OPENAI },
  "GET /api/tags": { summary: "Lists the served names of the model", tag: "Ollama" },
  "GET /api/ps": { summary: "Describes the loaded model", tag: "Ollama" },
  "POST /api/show": {
    summary: "Describes a model, its template and what it can do",
    tag: "Ollama",
    body: OllamaShowRequest,
  },
  "GET /api/version": { summary: "The version of Ollama's API that is followed", tag: "Ollama" },
  "POST /tokenize": {
    summary: "Ids of a text or a conversation",
    tag: "Tokens",
    body: TokenizeRequest,
  },
  "POST /detokenize": { summary: "The text of ids", tag: "Tokens", body: DetokenizeRequest },
};

const SERVER: Readonly<Record<string, EndpointDoc>> = {
  "GET /health": { summary: "200 while requests are taken, else 503 and why", tag: "Server" },
  "GET /ready": { summary: "The same as /health", tag: "Server" },
  "GET /live": { summary: "503 once only another process helps", tag: "Server" },
  "GET /metrics": {
    summary: "Metrics for Prometheus, under vLLM's names",
    tag: "Server",
    answer: "text/plain",
  },
  "GET /version": { summary: "The version of the server", tag: "Server" },
  "GET /props": { summary: "The server in llama.cpp's words", tag: "Server" },
  "GET /slots": { summary: "How many sequences of a step run", tag: "Server" },
  "GET /openapi.json": { summary: "This document", tag: "Server" },
  "GET /": {
    summary: "The window; leads to /docs without a browser",
    tag: "Server",
    answer: "text/html",
  },
  "GET /window/{file}": {
    summary: "A file of the window",
    tag: "Server",
    answer: "text/javascript",
  },
  "GET /docs": { summary: "This document as a page", tag: "Server", answer: "text/html" },
};

const ADMINISTRATION: Readonly<Record<string, EndpointDoc>> = {
  "POST /reset_prefix_cache": {
    summary: "Forgets the KV of all earlier prompts",
    tag: "Administration",
  },
  "GET /admin/kv/check": {
    summary: "Audits every block's count against its holders",
    tag: "Administration",
  },
  "POST /admin/kv/pins": {
    summary: "Keeps the blocks of a prompt cached",
    tag: "Administration",
    body: PinRequest,
  },
  "DELETE /admin/kv/pins/{name}": { summary: "Lets go of pinned blocks", tag: "Administration" },
  "POST /admin/kv/resize": {
    summary: "Makes the KV pool larger or smaller",
    tag: "Administration",
    body: ResizeRequest,
  },
  "GET /admin/kv/curve": {
    summary: "Hit rates that other sizes of the pool would have",
    tag: "Administration",
  },
  "GET /admin/kv/log": {
    summary: "Why sequences waited, were admitted or preempted",
    tag: "Administration",
  },
  "GET /admin/kv/plan": {
    summary: "The arithmetic of KV memory",
    tag: "Administration",
  },
  "GET /admin/machine": {
    summary: "The inside of the engine, a few times a second",
    tag: "Administration",
    answer: EVENTS,
  },
  "GET /admin/machine/path": {
    summary: "The text of a path of the radix tree, of the caller's own scope",
    tag: "Administration",
  },
  "GET /admin/requests/{id}": {
    summary: "What has happened to a request, and why",
    tag: "Administration",
  },
  "DELETE /admin/requests/{id}": {
    summary: "Ends a request that waits or runs",
    tag: "Administration",
  },
  "GET /kv/events": {
    summary: "What the prefix cache stores and drops",
    tag: "Administration",
    answer: EVENTS,
  },
};

/** Every endpoint, by `METHOD path`. */
export const ENDPOINT_DOCS: ReadonlyMap<string, EndpointDoc> = new Map(
  Object.entries({ ...GENERATION, ...MODELS, ...SERVER, ...ADMINISTRATION }),
);
