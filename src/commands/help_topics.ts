import { nearestName } from "../base/edit_distance.ts";
import { benchHelp } from "../core/bench_config.ts";
import { chatHelp, runHelp } from "../core/chat_config.ts";
import { type CommandName, COMMANDS, examplesOf, usageOf } from "../core/command_names.ts";
import { configHelp, SERVE_FLAGS } from "../core/config.ts";
import { doctorHelp } from "../core/doctor_config.ts";
import { StartupError } from "../core/errors.ts";
import { explainHelp } from "../core/explain_config.ts";
import { helpText } from "../core/help.ts";
import { modelsHelp, pullHelp, removeHelp } from "../core/hub_config.ts";
import { planHelp } from "../core/plan_config.ts";
import { tuneHelp } from "../core/tune_config.ts";
import { PRESET_NAMES } from "../plan/presets.ts";

/** The pages of the commands that have one of their own. */
const PAGES: Partial<Record<CommandName, () => string>> = {
  serve: () => serveHelp(),
  run: runHelp,
  chat: chatHelp,
  plan: () => planHelp(PRESET_NAMES),
  bench: benchHelp,
  pull: pullHelp,
  models: modelsHelp,
  rm: removeHelp,
  tune: tuneHelp,
  explain: explainHelp,
  doctor: doctorHelp,
};

/** Groups of `quire serve`'s flags, by the word for each. */
const GROUPS = new Map(
  [...new Set(SERVE_FLAGS.map(({ group }) => group))].map((group) => [wordOf(group), group]),
);

/** Everything that `quire help` takes behind it. */
export const TOPICS: readonly string[] = [
  ...COMMANDS.map(({ name }) => name),
  ...GROUPS.keys(),
];

/** The first word or two of a heading: `kv-cache`, `device`. */
function wordOf(group: string): string {
  return group.toLowerCase().replace(/ and .*$/, "").replaceAll(" ", "-");
}

/** The page that `quire serve --help` prints. */
export function serveHelp(): string {
  return helpText(SERVE_FLAGS, [
    "Quire serves a model over OpenAI's, Anthropic's and Ollama's APIs.",
    usageOf("serve"),
    ...examplesOf("serve"),
  ]);
}

/**
 * What `quire help [TOPIC]` prints: all commands, one of them, or one group of flags.
 *
 * @throws {StartupError} for a topic that there is not, with the nearest.
 */
export function helpOn(topic: string | undefined): string {
  if (topic === undefined) {
    return `${configHelp()}\nquire help TOPIC shows less: ${TOPICS.join(", ")}\n`;
  }
  const word = topic.toLowerCase();
  const command = COMMANDS.find(({ name }) => name === word);
  if (command !== undefined) return commandPage(command.name);
  const group = GROUPS.get(word);
  if (group !== undefined) {
    const flags = SERVE_FLAGS.filter((flag) => flag.group === group);
    return helpText(flags, [`Flags of quire serve: ${group}.`]);
  }
  const nearest = nearestName(word, TOPICS);
  const hint = nearest === undefined ? `one of ${TOPICS.join(", ")}` : `did you mean ${nearest}?`;
  throw new StartupError(`There is no page on ${JSON.stringify(topic)}: ${hint}`);
}

function commandPage(name: CommandName): string {
  const page = PAGES[name];
  if (page !== undefined) return page();
  const { summary } = COMMANDS.find((entry) => entry.name === name)!;
  return [`${summary}.`, usageOf(name), ...examplesOf(name)].join("\n\n") + "\n";
}
