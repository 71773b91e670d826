import type { Logger } from "../base/log.ts";
import type { KvCacheDtype } from "../core/engine_config.ts";
import type { CompiledGrammar } from "../core/compiled_grammar.ts";
import type { MissPort } from "../core/found_prompt.ts";
import type { EnginePort } from "../core/engine_port.ts";
import type { GrammarFormat } from "../core/grammar_format.ts";
import type { Pooling } from "../core/prompt_readout.ts";
import type { TokenId } from "../core/ids.ts";
import type { ToolDefinition, ToolParser } from "../core/tool_parser.ts";
import type { KeyRules } from "./access/key_rules.ts";
import type { BodyLimits } from "./body/request_body.ts";
import type { ThinkingMarks } from "./chat/thinking_parser.ts";
import type { ServingMetrics } from "./metrics/serving_metrics.ts";
import type { StopStringPort, TextPort } from "./text_port.ts";

/** Compiles what answers have to match, for the served model's vocabulary. */
export interface GrammarPort {
  /**
   * @param param the field that asks for it, for refusals.
   * @throws {RequestError} when no grammar holds the format, or it costs too much.
   */
  compile(format: GrammarFormat, param: string): Promise<CompiledGrammar>;
}

/** How the served model calls tools. */
export interface ToolPort {
  /** Name of the notation of its calls; absent where its chat template knows no tools. */
  readonly notation: string | undefined;
  /** Finds the calls of one answer. */
  createParser(tools: readonly ToolDefinition[]): ToolParser;
  /** A grammar that forces at least one call of these tools, and what reads it. */
  force(
    tools: readonly ToolDefinition[],
    options: { readonly isNamed: boolean; readonly isParallel: boolean },
  ): { readonly format: GrammarFormat; readonly createParser: () => ToolParser };
  /** An id for a call, as the model's template takes it in a later conversation. */
  createCallId(): string;
}

/** Defaults of absent sampling fields, from the model's generation_config.json. */
export interface SamplingDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/** How the served model makes vectors of texts. */
export interface EmbeddingForm {
  readonly pooling: Pooling;
  readonly isNormalized: boolean;
  /** Elements of a vector. */
  readonly size: number;
}

/**
 * How a model says whether a document fits a query: by one of two tokens, or by a score of the last
 * hidden state of the prompt, whose product with it goes through a sigmoid.
 */
export type RerankForm =
  | { readonly yes: TokenId; readonly no: TokenId }
  | { readonly score: Float32Array };

/** The model as clients know it. */
export interface ServedModel {
  /** Accepted in `model`, at least one; the first stands where a request names none. */
  readonly names: readonly string[];
  /** Unix time in seconds that `/v1/models` reports. */
  readonly created: number;
  /** Positions the model was trained for. */
  readonly maxPositionEmbeddings: number;
  /**
   * Most characters (UTF-16 code units) that one token of the vocabulary stands for: a text longer
   * than the context times this cannot fit and is refused without being tokenized.
   */
  readonly maxCharsPerToken: number;
  readonly defaults: SamplingDefaults;
  /** How its chat template marks thoughts; absent for a model that does not think. */
  readonly thinking?: ThinkingMarks;
  /** What its weights are read from. */
  readonly fileFormat?: "safetensors" | "gguf";
  /** How it makes vectors of texts, or why it cannot; absent: it is not known. */
  readonly embedding?: EmbeddingForm | { readonly unsupported: string };
  /** How it ranks documents; absent for a model that does not. */
  readonly rerank?: RerankForm;
  /** Whether it has no output projection, so that nothing can be generated; default: it has. */
  readonly lacksLmHead?: boolean;
  /** Its chat template; absent where it has none. */
  readonly chatTemplate?: string;
  /** Variables about thinking that its chat template reads. */
  readonly templateVariables?: readonly string[];
}

/** Who may call, and from where. */
export interface AccessRules {
  /** Accepted keys; empty lets everyone in. */
  readonly apiKeys: readonly string[];
  /** Admin keys; without any, admin routes answer only on loopback without API keys. */
  readonly adminKeys: readonly string[];
  /** Names and limits of keys, by the key; absent, keys are numbered and have none. */
  readonly keyRules?: ReadonlyMap<string, KeyRules>;
  /** Address the server listens on; a loopback address turns the check of the Host header on. */
  readonly hostname: string;
  /** Names in the Host header beside local ones (`access/host_rules.ts`); any turn the check on. */
  readonly allowedHosts?: readonly string[];
  /** Origins whose pages may call, beside local and own ones (`access/origin_rules.ts`). */
  readonly corsOrigins?: readonly string[];
  /** Who may read `/metrics`; default: `key`. */
  readonly metrics?: MetricsAccess;
}

/** Who may read the metrics: everyone, holders of a key, admins, or nobody. */
export type MetricsAccess = "open" | "key" | "admin" | "off";

/** Bounds that apply to all endpoints. */
export interface RequestLimits extends BodyLimits {
  /**
   * Most sequences of one request, prompts times samples: as many as one owner may have waiting.
   */
  readonly maxNumQueuedSeqs: number;
  /** Seconds after which a request ends with an error; absent: only where it asks for that. */
  readonly requestTimeoutSeconds?: number;
  /**
   * Milliseconds of silence after which a stream sends a comment, so that proxies keep it open; 0:
   * never.
   */
  readonly keepAliveMs: number;
}

/** Limits of a server in the open; tests pass smaller ones. */
export const DEFAULT_LIMITS: RequestLimits = {
  maxBodyBytes: 8 * 2 ** 20,
  maxUnfinishedBytes: 64 * 2 ** 20,
  maxJsonCost: 2 ** 19,
  bodyTimeoutMs: 60_000,
  maxNumQueuedSeqs: 1024,
  keepAliveMs: 30_000,
};

/** The options of a plan of KV memory. */
export interface KvPlanQuery {
  /** One of the planner's presets; the served model where absent. */
  readonly preset?: string;
  /** Bytes of KV memory, all layers together. */
  readonly memoryBytes: number;
  readonly blockSize: number;
  readonly maxNumBatchedTokens: number;
  /** Most tokens of one sequence; absent: the length that the model was trained for. */
  readonly maxModelLen?: number;
  readonly dtype: KvCacheDtype;
  /** Whether quantized types keep the first and the last layer in f16; default: int4 does. */
  readonly f16EdgeLayers?: boolean;
}

/** The arithmetic of `quire plan`, independent of the running pool. */
export interface KvPlanner {
  /** Names that a query's `preset` takes, in any case. */
  readonly presets: readonly string[];
  /** The plan as JSON, or undefined for an unknown preset. */
  plan(query: KvPlanQuery): Readonly<Record<string, unknown>> | undefined;
}

/** Everything the routes need from the rooms behind them. */
export interface Services {
  readonly engine: EnginePort;
  readonly text: TextPort;
  readonly grammars: GrammarPort;
  readonly tools: ToolPort;
  readonly misses: MissPort;
  readonly createStopStrings: (stops: readonly string[]) => StopStringPort;
  readonly model: ServedModel;
  readonly access: AccessRules;
  /** Secret of this deployment under which cache scopes are named (`access/cache_scope.ts`). */
  readonly cacheSecret: Uint8Array;
  readonly limits: RequestLimits;
  readonly metrics: ServingMetrics;
  readonly kvPlanner: KvPlanner;
  /** Answers with a file of the window; undefined for a path that it does not have. */
  readonly window: (request: Request) => Response | undefined;
  /** How far the start of the engine is; asked for while it starts. */
  readonly start?: () => { readonly phase: string; readonly seconds: number };
  readonly log: Logger;
  /** Version of this program. */
  readonly version: string;
  /** For a request without a seed: a non-negative safe integer (`fields/seed_source.ts`). */
  readonly nextSeed: () => number;
  /** Monotonic time in ms. */
  readonly now: () => number;
}
