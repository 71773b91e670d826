import { z } from "zod";
import { LOG_LEVELS } from "../../base/log.ts";

const RUNTIME = "Device and diagnostics";

/** The settings of the device, of the engine's deadlines, and of what is written down. */
export const RUNTIME_SETTINGS = {
  device: z.enum(["auto", "webgpu", "cpu"]).default("auto").meta({
    description: "Where the model runs; auto takes a GPU where there is one",
    group: RUNTIME,
    value: "DEVICE",
  }),
  gpuBackend: z.enum(["deno", "dawn"]).default("deno").meta({
    description: "Whose WebGPU; dawn is Chrome's, from the npm package webgpu in ./node_modules",
    group: RUNTIME,
    value: "BACKEND",
  }),
  autotune: z.enum(["auto", "on", "off"]).default("auto").meta({
    description: "Whether a start times variants of kernels that were not timed on this machine, " +
      "for at most 20 seconds; auto does on GPUs",
    group: RUNTIME,
    value: "WHEN",
  }),
  tuningStore: z.string().min(1).optional().meta({
    description: "File that keeps the times of kernels; none for no file",
    group: RUNTIME,
    value: "PATH|none",
    defaultText: "tuning.sqlite3 in the user's state directory, quire",
  }),
  deterministic: z.boolean().default(false).meta({
    description: "The same bits of every logit alone and in any batch; slower prompts on GPUs",
    group: RUNTIME,
    value: "",
  }),
  engineStepTimeout: z.int().min(1).max(86_400).optional().meta({
    description: "How long a step of the engine may take before it counts as hung, in seconds",
    group: RUNTIME,
    value: "SECONDS",
    defaultText: "120, or what the device's own speed asks for",
  }),
  engineStartTimeout: z.int().min(1).max(86_400).default(600).meta({
    description: "How long a phase of the engine's start may take before it counts as hung, " +
      "in seconds",
    group: RUNTIME,
    value: "SECONDS",
  }),
  maxEngineFailures: z.int().min(0).max(1000).default(5).meta({
    description:
      "Failures of the engine in a row, with no answer completed in between, and no minute of " +
      "steps, after which the process exits with code 70; 0 tries for ever",
    group: RUNTIME,
    value: "FAILURES",
  }),
  seed: z.int().min(0).optional().meta({
    description: "Seeds the requests that bring no seed of their own",
    group: RUNTIME,
    value: "N",
    aliases: ["-s"],
    defaultText: "random",
  }),
  logLevel: z.enum(LOG_LEVELS).default("info").meta({
    description: "Least urgent lines that are written; debug adds /health and /metrics requests",
    group: RUNTIME,
    value: "LEVEL",
  }),
  traceSteps: z.string().min(1).optional().meta({
    description: "File that every request, plan and token is appended to as JSON lines, prompts " +
      "included, so that bench/replay_steps.ts can run the steps again; it grows fast",
    group: RUNTIME,
    value: "PATH",
    defaultText: "none",
  }),
  logFormat: z.enum(["text", "json"]).default("text").meta({
    description: "Lines for people, or one JSON object per line",
    group: RUNTIME,
    value: "FORMAT",
  }),
};
