import { z } from "zod";
import { MAX_DECODE_STEPS } from "../batch.ts";
import { SCHEDULING_POLICIES } from "../engine_config.ts";

const SCHEDULER = "Scheduler";

/** The settings of scheduling: how large a step is, who goes first, how long others wait. */
export const SCHEDULER_SETTINGS = {
  maxNumSeqs: z.int().min(1).max(4096).default(64).meta({
    description: "Most sequences in one step",
    group: SCHEDULER,
    value: "SEQUENCES",
    aliases: ["-np", "--parallel"],
  }),
  maxNumBatchedTokens: z.int().min(1).max(131_072).default(512).meta({
    description: "Most tokens in one step; longer prompts are computed in chunks",
    group: SCHEDULER,
    value: "TOKENS",
    aliases: ["-b", "--batch-size"],
  }),
  schedulingPolicy: z.enum(SCHEDULING_POLICIES).default(SCHEDULING_POLICIES[0]).meta({
    description: "Who is served first: fcfs, the earliest, in turns between keys; priority, the " +
      "highest priority of key and request, also in place of what runs; lpm, the longest cached " +
      "prefix; fair, the key that has had the fewest tokens",
    group: SCHEDULER,
    value: "POLICY",
  }),
  longPrefillTokenThreshold: z.int().min(0).max(131_072).optional().meta({
    description: "Most tokens of one prompt in a step while others wait, so that short prompts " +
      "pass long ones; 0 for no limit",
    group: SCHEDULER,
    value: "TOKENS",
    defaultText: "half of --max-num-batched-tokens",
  }),
  maxPrefillMs: z.int().min(10).max(600_000).default(1000).meta({
    description:
      "Most time of a step that computes prompts, in milliseconds, by what earlier ones " +
      "took: on slow devices prompts are computed in smaller chunks, since drivers reset what runs " +
      "too long",
    group: SCHEDULER,
    value: "MS",
  }),
  maxLongPartialPrefills: z.int().min(1).max(4096).default(1).meta({
    description: "Most prompts beyond --long-prefill-token-threshold that are computed at a time",
    group: SCHEDULER,
    value: "PROMPTS",
  }),
  scheduleConservativeness: z.int().min(0).max(400).default(100).meta({
    description: "Blocks that an admission leaves over for answers to grow, in percent of what " +
      "the answers before say: more means fewer preemptions and fewer sequences at a time; 0 " +
      "leaves none",
    group: SCHEDULER,
    value: "PERCENT",
  }),
  maxDecodeSteps: z.int().min(1).max(MAX_DECODE_STEPS).default(MAX_DECODE_STEPS).meta({
    description: "Most tokens of an answer that the device computes by itself, one after the " +
      "other, before they are read back: where nobody waits, and as far as it pays and takes no " +
      "longer than 50 ms",
    group: SCHEDULER,
    value: "STEPS",
  }),
  requestTimeout: z.int().min(1).max(86_400).optional().meta({
    description: "How long a request may wait and run before it ends with an error, in seconds; " +
      'its "timeout" may be shorter',
    group: SCHEDULER,
    value: "SECONDS",
    defaultText: "no limit",
  }),
  maxQueuedRequests: z.int().min(1).max(65_536).default(1024).meta({
    description: "Most sequences that one API key has waiting, and most of one request; more are " +
      "answered with 429 and 400. All keys together: this times their number",
    group: SCHEDULER,
    value: "SEQUENCES",
  }),
};
