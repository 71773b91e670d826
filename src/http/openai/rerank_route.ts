import type { Handler } from "hono";
import { z } from "zod";
import { checkPromptFits } from "../../core/context_limit.ts";
import { RequestError } from "../../core/errors.ts";
import type { PromptReport } from "../../core/prompt_readout.ts";
import { boundedArray } from "../body/bounded_array.ts";
import { GenerationMeter } from "../metrics/generation_meter.ts";
import { numTokensOf } from "../prompt/prompt_field.ts";
import { checkPromptChars } from "../prompt/prompt_limits.ts";
import { readJson } from "../body/read_json.ts";
import { checkNumPrompts, readPrompts } from "../prompt/read_prompts.ts";
import { SAMPLING_FIELDS } from "../fields/sampling_fields.ts";
import { requireReady, servedName } from "../served_model.ts";
import type { RerankForm, ServedModel, Services } from "../services.ts";
import type { ChatMessage } from "../text_port.ts";
import { neutral, type UnsupportedFields } from "../fields/unsupported_fields.ts";

const MAX_DOCUMENTS = 2048;

/** What the Qwen3-Reranker models were trained to read (2506.05176). */
const SYSTEM = "Judge whether the Document meets the requirements based on the Query and the " +
  'Instruct provided. Note that the answer can only be "yes" or "no".';
const INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query";

const Document = z.union([z.string(), z.looseObject({ text: z.string() })]);

/** Body of `POST /v1/rerank`. */
export const RerankRequest = z.looseObject({
  model: z.string().nullish(),
  query: z.string(),
  documents: boundedArray(Document, { min: 1, max: MAX_DOCUMENTS }),
  top_n: z.int().min(0).max(MAX_DOCUMENTS).nullish(),
  return_documents: z.boolean().nullish(),
  instruction: z.string().nullish(),
  cache_salt: SAMPLING_FIELDS.cache_salt,
});

/** Fields of Cohere's, Jina's and vLLM's that would change scores. */
const UNSUPPORTED: UnsupportedFields = new Map([
  "truncate_prompt_tokens",
  "max_tokens_per_doc",
  "max_chunks_per_doc",
  "rank_fields",
  "truncation",
].map((name) => [name, neutral("null", (value) => value === false)]));

/**
 * `POST /v1/rerank` in Jina's shape: how well each document answers the query, from 0
 * to 1, best first.
 *
 * The model is asked with its chat template, and the score is how likely it says yes rather than
 * no: `exp(yes) / (exp(yes) + exp(no))` of their log-probabilities behind the prompt. A
 * classifier's head gives it instead where the model has one. The query stands before the document,
 * so that all documents share it in the cache.
 */
export function rerankRoute(services: Services): Handler {
  const { engine, model, metrics, now } = services;
  return async (c) => {
    const meter = new GenerationMeter(metrics, now);
    const request = await readJson(c, RerankRequest, UNSUPPORTED);
    const name = servedName(request.model, model);
    const form = rerankOf(model);
    const documents = request.documents.map((one) => typeof one === "string" ? one : one.text);
    checkNumPrompts(documents.length, "documents", services.limits);

    const { maxModelLen } = requireReady(engine);
    const { maxCharsPerToken } = model;
    for (const document of documents) {
      const numChars = request.query.length + document.length;
      checkPromptChars(numChars, "documents", { maxModelLen, maxCharsPerToken });
    }
    const { signal } = c.req.raw;
    const prompts = await meter.tokenize(() => promptsOf(request, documents, services, signal));
    if (prompts === undefined) return c.body(null);
    for (const { length } of prompts) checkPromptFits(length, "documents", maxModelLen);

    const read = await readPrompts(c, services, {
      idPrefix: "rerank-",
      prompts,
      readout: "score" in form ? { pooling: "last" } : { nextTokens: [form.yes, form.no] },
      cacheSalt: request.cache_salt,
      meter,
    });
    if (read === undefined) return c.body(null);
    const results = read.reports.map((report, index) => ({
      index,
      relevance_score: "score" in form ? sigmoid(dot(form.score, report.vector!)) : scoreOf(report),
      ...(request.return_documents === true ? { document: { text: documents[index]! } } : {}),
    }));
    results.sort((a, b) => b.relevance_score - a.relevance_score || a.index - b.index);
    const numTokens = numTokensOf(prompts);
    return c.json({
      id: read.id,
      object: "list",
      model: name,
      results: results.slice(0, request.top_n ?? results.length),
      usage: { prompt_tokens: numTokens, total_tokens: numTokens },
    });
  };
}

/** @throws {RequestError} that says what would make the served model rank. */
function rerankOf({ rerank, names }: ServedModel): RerankForm {
  if (rerank !== undefined) return rerank;
  throw new RequestError(
    `The model ${names[0]} ranks nothing here: one that was trained to answer whether a document ` +
      `fits a query, such as Qwen3-Reranker, does with --rerank-tokens no,yes`,
    { code: "unsupported_model", param: "model" },
  );
}

/** A prompt per document; undefined when the client has gone before all are tokenized. */
async function promptsOf(
  { query, instruction }: z.output<typeof RerankRequest>,
  documents: readonly string[],
  { text, model: { templateVariables = [] } }: Services,
  signal: AbortSignal,
): Promise<Uint32Array[] | undefined> {
  // What is said behind a thought is another question.
  const variables = templateVariables.includes("enable_thinking")
    ? { variables: { enable_thinking: false } }
    : {};
  const question = `<Instruct>: ${instruction ?? INSTRUCTION}\n<Query>: ${query}\n<Document>: `;
  const prompts: Uint32Array[] = [];
  for (const document of documents) {
    if (signal.aborted) return undefined;
    const messages: ChatMessage[] = [
      { role: "system", content: SYSTEM },
      { role: "user", content: question + document },
    ];
    prompts.push(await text.encodeChat(messages, variables));
  }
  return prompts;
}

/** From the log-probabilities of yes and no, in this order. */
function scoreOf({ nextScores }: PromptReport): number {
  const [yes, no] = nextScores!;
  return sigmoid(yes!.logprob - no!.logprob);
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** In f64. */
function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}
