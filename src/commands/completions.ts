import { type CommandName, COMMANDS } from "../core/command_names.ts";
import { StartupError } from "../core/errors.ts";
import type { Flag } from "../core/flags.ts";
import { PRESET_NAMES } from "../plan/presets.ts";
import { COMMAND_FLAGS } from "./command_flags.ts";
import { TOPICS } from "./help_topics.ts";

/** Shells that completions are written for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/**
 * What `quire completions SHELL` prints: a script that knows commands, flags and their values.
 *
 * @throws {StartupError} for another shell.
 */
export function completionsCommand(args: readonly string[]): string {
  const shell = SHELLS.find((known) => known === args[0]);
  if (shell === undefined || args.length > 1) {
    throw new StartupError(`quire completions needs the name of a shell: ${SHELLS.join(", ")}`);
  }
  return { bash, zsh, fish }[shell]();
}

/** What may follow a command beside flags; models and files are the shell's own matter. */
const ARGUMENTS: Partial<Record<CommandName, readonly string[]>> = {
  plan: PRESET_NAMES,
  completions: SHELLS,
  help: TOPICS,
};

/** The values of a flag that has a few; empty for the others. */
function valuesOf({ value }: Flag): readonly string[] {
  return /^[a-z0-9_.-]+(\|[a-z0-9_.-]+)+$/.test(value) ? value.split("|") : [];
}

/** Flags that take files or folders. */
function takesPath({ value }: Flag): boolean {
  return /PATH|FILE|MODEL/.test(value);
}

function bash(): string {
  const cases = COMMANDS.map(({ name }) => {
    const flags = COMMAND_FLAGS[name].map((flag) => `--${flag.name}`);
    const words = [...flags, "--help", ...ARGUMENTS[name] ?? []];
    return `    ${name}) words="${words.join(" ")}" ;;`;
  });
  const values = new Map<string, readonly string[]>();
  for (const flag of Object.values(COMMAND_FLAGS).flat()) {
    if (valuesOf(flag).length > 0) values.set(`--${flag.name}`, valuesOf(flag));
  }
  const valueCases = [...values].map(([flag, list]) =>
    `    ${flag}) COMPREPLY=($(compgen -W "${list.join(" ")}" -- "$word")); return ;;`
  );
  return [
    "# bash completion for quire",
    "_quire() {",
    '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""',
    "  COMPREPLY=()",
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W "${COMMANDS.map(({ name }) => name).join(" ")}" -- "$word"))`,
    "    return",
    "  fi",
    '  case "$before" in',
    ...valueCases,
    "  esac",
    '  case "${COMP_WORDS[1]}" in',
    ...cases,
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "$word"))',
    '  [ "${word#-}" = "$word" ] && COMPREPLY+=($(compgen -f -- "$word"))',
    "}",
    "complete -o filenames -F _quire quire",
  ].join("\n");
}

function zsh(): string {
  const describe = (text: string) => text.replace(/[[\]:'\\]/g, " ").replace(/\s+/g, " ");
  const flagLine = (flag: Flag) => {
    const action = valuesOf(flag).length > 0
      ? `(${valuesOf(flag).join(" ")})`
      : takesPath(flag)
      ? "_files"
      : "";
    const argument = flag.kind === "switch"
      ? ""
      : `:${describe(flag.value).replace(/\|/g, " ")}:${action}`;
    return `      '*--${flag.name}[${describe(flag.description)}]${argument}'`;
  };
  const cases = COMMANDS.map(({ name }) => {
    const rest = ARGUMENTS[name] === undefined
      ? "      '*: :_files'"
      : `      '*: :(${ARGUMENTS[name].join(" ")})'`;
    const lines = [
      ...COMMAND_FLAGS[name].map(flagLine),
      "      '--help[Show the page of help]'",
      rest,
    ];
    return [`    ${name}) _arguments \\`, lines.join(" \\\n"), "      ;;"].join("\n");
  });
  return [
    "#compdef quire",
    "_quire() {",
    "  local -a commands",
    "  commands=(",
    ...COMMANDS.map(({ name, summary }) => `    '${name}:${describe(summary)}'`),
    "  )",
    "  if (( CURRENT == 2 )); then",
    "    _describe command commands",
    "    return",
    "  fi",
    "  local command=$words[2]",
    "  shift words; (( CURRENT-- ))",
    '  case "$command" in',
    ...cases,
    "  esac",
    "}",
    "compdef _quire quire",
  ].join("\n");
}

function fish(): string {
  const quoted = (text: string) => `'${text.replace(/[\\']/g, "\\$&")}'`;
  const commands = COMMANDS.map(({ name, summary }) =>
    `complete -c quire -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`
  );
  const flags = COMMANDS.flatMap(({ name }) => {
    const seen = `complete -c quire -n '__fish_seen_subcommand_from ${name}'`;
    return [
      ...COMMAND_FLAGS[name].map((flag) => {
        const values = valuesOf(flag);
        const needs = flag.kind === "switch"
          ? ""
          : values.length > 0
          ? ` -x -a ${quoted(values.join(" "))}`
          : takesPath(flag)
          ? " -r -F"
          : " -x";
        return `${seen} -l ${flag.name}${needs} -d ${quoted(flag.description)}`;
      }),
      ...ARGUMENTS[name] === undefined
        ? []
        : [`${seen} -f -a ${quoted(ARGUMENTS[name].join(" "))}`],
    ];
  });
  return ["# fish completion for quire", ...commands, ...flags].join("\n");
}
