import { z } from "zod";
import { POOLINGS } from "../prompt_readout.ts";
import { TOOL_FORMATS } from "../tool_format_names.ts";

const SERVER = "Server";

/** The settings of the HTTP server: its address, keys, who may call, and limits of requests. */
export const SERVER_SETTINGS = {
  host: z.string().min(1).default("127.0.0.1").meta({
    description: "Address to listen on; 0.0.0.0 for all interfaces, which needs --api-key",
    group: SERVER,
    value: "ADDRESS",
  }),
  port: z.int().min(0).max(65535).default(8000).meta({
    description: "TCP port to listen on; 0 takes a free one",
    group: SERVER,
    value: "PORT",
  }),
  apiKey: z.array(z.string().min(1)).default([]).meta({
    description: "Key(s) that requests must carry, /health excepted; one may be followed by " +
      "settings: 'KEY name=NAME max-requests=N tokens-per-minute=N priority=N'",
    group: SERVER,
    value: "KEY",
    secret: true,
    defaultText: "none, no key is asked for",
  }),
  apiKeyFile: z.string().min(1).optional().meta({
    description: "File with more API keys and their settings, one per line",
    group: SERVER,
    value: "PATH",
    defaultText: "none",
  }),
  adminKey: z.array(z.string().min(1)).default([]).meta({
    description: "Key(s) for /admin/*, /reset_prefix_cache and /kv/events; they open what an API " +
      "key opens, too",
    group: SERVER,
    value: "KEY",
    secret: true,
    defaultText: "none: these answer on a loopback address without API keys only",
  }),
  adminKeyFile: z.string().min(1).optional().meta({
    description: "File with more admin keys, one per line",
    group: SERVER,
    value: "PATH",
    defaultText: "none",
  }),
  allowPublic: z.boolean().default(false).meta({
    description: "Serve other machines without an API key: whoever reaches the address may use it",
    group: SERVER,
    value: "",
  }),
  allowedHosts: z.array(z.string().min(1)).default([]).meta({
    description: "Name(s) that the Host header may have beside local ones and addresses, such as " +
      "gpu.example or *.example; given, they are asked for on every address",
    group: SERVER,
    value: "NAME",
    defaultText: "localhost, *.localhost, *.internal, *.local, addresses; on loopback only",
  }),
  corsOrigins: z.array(z.string().min(1)).default([]).meta({
    description: "Origin(s) whose pages may call beside local ones, such as https://app.example, " +
      "tauri://localhost, app://. or chrome-extension://ID; * for all",
    group: SERVER,
    value: "ORIGIN",
    defaultText: "pages of this machine",
  }),
  allowAnyOrigin: z.boolean().default(false).meta({
    description: "Accept --cors-origins * beside API keys: any page that learns a key may use it",
    group: SERVER,
    value: "",
  }),
  metricsAccess: z.enum(["open", "key", "admin", "off"]).default("key").meta({
    description: "Who may read /metrics: everyone, holders of a key, admins, or nobody",
    group: SERVER,
    value: "WHO",
  }),
  maxConnections: z.int().min(8).max(65_536).default(1024).meta({
    description:
      "Most open connections; beyond them the longest idle one is closed, and new ones " +
      "are where none is idle",
    group: SERVER,
    value: "CONNECTIONS",
  }),
  toolCallParser: z.enum(["auto", ...TOOL_FORMATS]).default("auto").meta({
    description: "How the model writes calls of tools; auto goes by its chat template",
    group: SERVER,
    value: "FORMAT",
  }),
  pooling: z.enum(["auto", ...POOLINGS]).default("auto").meta({
    description: "How embeddings are made of hidden states; auto goes by the model's own " +
      "configuration, or takes the last one",
    group: SERVER,
    value: "WAY",
  }),
  rerankTokens: z.string().regex(/^[^,]+,[^,]+$/).optional().meta({
    description: "The words by which the model says that a document does not fit a query, and " +
      "that it does, such as no,yes for Qwen3-Reranker",
    group: SERVER,
    value: "NO,YES",
    expected: "two words with a comma between",
    defaultText: "the model's own, if it has any",
  }),
  grammarCompileTimeout: z.int().min(1).max(600).default(5).meta({
    description: "How long a schema or grammar of a request may take to compile, in seconds; one " +
      "that takes longer is answered with 400",
    group: SERVER,
    value: "SECONDS",
  }),
  sseKeepAliveSeconds: z.int().min(0).max(3600).default(30).meta({
    description:
      "Silence after which a stream that has begun sends a comment, so that proxies keep " +
      "it open, in seconds; 0 for never",
    group: SERVER,
    value: "SECONDS",
  }),
  shutdownTimeout: z.int().min(0).max(3600).default(30).meta({
    description: "How long running requests may finish after Ctrl-C, in seconds",
    group: SERVER,
    value: "SECONDS",
  }),
};
