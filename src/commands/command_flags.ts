import { BENCH_FLAGS } from "../core/bench_config.ts";
import { CHAT_FLAGS } from "../core/chat_config.ts";
import type { CommandName } from "../core/command_names.ts";
import { SERVE_FLAGS } from "../core/config.ts";
import { DOCTOR_FLAGS } from "../core/doctor_config.ts";
import { EXPLAIN_FLAGS } from "../core/explain_config.ts";
import { type Flag, flagsOf } from "../core/flags.ts";
import { ModelsSchema, PullSchema } from "../core/hub_config.ts";
import { PlanSchema } from "../core/plan_config.ts";
import { TuneSchema } from "../core/tune_config.ts";

/** The flags of every command. */
export const COMMAND_FLAGS: Readonly<Record<CommandName, readonly Flag[]>> = {
  serve: SERVE_FLAGS,
  run: CHAT_FLAGS,
  chat: CHAT_FLAGS,
  plan: flagsOf(PlanSchema),
  bench: BENCH_FLAGS,
  pull: flagsOf(PullSchema),
  models: flagsOf(ModelsSchema),
  rm: [],
  tune: flagsOf(TuneSchema),
  explain: EXPLAIN_FLAGS,
  doctor: DOCTOR_FLAGS,
  completions: [],
  help: [],
  version: [],
};
