/** What the pages of help say of a command. */
export interface CommandEntry {
  readonly name: string;
  /** What follows the name, such as `[MODEL] [flags]`. */
  readonly args: string;
  /** One line. */
  readonly summary: string;
  /** Command lines to paste, each with its meaning. */
  readonly examples: readonly (readonly [line: string, meaning: string])[];
}

/** Every command, in the order of the page of all. */
export const COMMANDS = [
  {
    name: "serve",
    args: "[MODEL] [flags]",
    summary: "Serve a model",
    examples: [
      ["quire serve", "the bundled model, on http://127.0.0.1:8000"],
      ["quire serve Qwen/Qwen3-0.6B", "a model of the hub; asks before it downloads"],
      ["quire serve -m model.gguf -c 4096 -np 8", "a GGUF file, in short spellings"],
    ],
  },
  {
    name: "run",
    args: "[MODEL] PROMPT [flags]",
    summary: "Answer one prompt and end",
    examples: [
      ['quire run Qwen/Qwen3-0.6B "Why is the sky blue?"', "answers on standard output"],
      ['git diff | quire run Qwen/Qwen3-0.6B "Summarize:"', "what is piped in follows the prompt"],
      ['quire run --url localhost:8000 "Hello!"', "asks a server that runs already"],
    ],
  },
  {
    name: "chat",
    args: "[MODEL] [flags]",
    summary: "Talk to a model in the terminal",
    examples: [
      ["quire chat Qwen/Qwen3-0.6B", "runs the model in this process"],
      ["quire chat --url localhost:8000", "talks to any server of OpenAI's API"],
      ['quire chat --system "Answer in one line."', "with instructions"],
    ],
  },
  {
    name: "plan",
    args: "[MODEL] [flags]",
    summary: "Say how much fits into KV memory (flags: quire plan --help)",
    examples: [
      ["quire plan smollm2-135m --memory 8GiB", "a model that is known by its name"],
      ["quire plan smollm2-135m --gpu-memory-bytes 4GiB", "weights and activations as well"],
      ["quire plan Qwen/Qwen3-0.6B", "a model of the hub; fetches its config.json"],
    ],
  },
  {
    name: "bench",
    args: "URL [flags]",
    summary: "Measure a server of OpenAI's API (flags: quire bench --help)",
    examples: [
      ["quire bench localhost:8000", "100 random prompts, as fast as they are taken"],
      ["quire bench localhost:8000 --rate 4 --goodput ttft:500", "4 requests per second"],
      ["quire bench localhost:8000 --workload turns --turns 5", "conversations"],
      ["quire bench localhost:8000 --trace conversation_trace.jsonl", "a trace of Mooncake's form"],
    ],
  },
  {
    name: "pull",
    args: "MODEL",
    summary: "Download a model, or what is missing of it",
    examples: [
      ["quire pull Qwen/Qwen3-0.6B", "config, tokenizer and safetensors of the main branch"],
      ["quire pull Qwen/Qwen3-0.6B@v1.0", "of a tag, a branch or a commit"],
      ["quire pull Qwen/Qwen3-0.6B-GGUF:Q8_0", "the GGUF file of one quantization"],
    ],
  },
  {
    name: "models",
    args: "[flags]",
    summary: "List the downloaded models, and which can run here",
    examples: [["quire models --json", "for programs"]],
  },
  {
    name: "rm",
    args: "MODEL",
    summary: "Remove a downloaded model",
    examples: [
      ["quire rm Qwen/Qwen3-0.6B", "everything of the model"],
      ["quire rm Qwen/Qwen3-0.6B@v1.0", "one revision: a branch, a tag or a commit"],
    ],
  },
  {
    name: "tune",
    args: "[MODEL] [flags]",
    summary: "Time the kernels' variants here (flags: quire tune --help)",
    examples: [["quire tune Qwen/Qwen3-0.6B", "keeps the times for later starts"]],
  },
  {
    name: "explain",
    args: "[FILE|ID] [flags]",
    summary: "Say what a prompt finds cached, or why a request took so long",
    examples: [
      ["quire explain request.json", "a body of /v1/chat/completions, or a list of messages"],
      ["quire explain --url gpu.local:8000 --decisions < request.json", "with every decision"],
      ["quire explain chatcmpl-0123456789abcdef0123456789abcdef", "why that one took so long"],
    ],
  },
  {
    name: "doctor",
    args: "[flags]",
    summary: "Say what this machine has, what is missing, and how to get it",
    examples: [["quire doctor --json", "for programs, and for reports of bugs"]],
  },
  {
    name: "completions",
    args: "bash|zsh|fish",
    summary: "Print completions for a shell",
    examples: [
      ['eval "$(quire completions bash)"', "in ~/.bashrc"],
      ['eval "$(quire completions zsh)"', "in ~/.zshrc, below compinit"],
      ["quire completions fish > ~/.config/fish/completions/quire.fish", "once"],
    ],
  },
  {
    name: "help",
    args: "[TOPIC]",
    summary: "Show this page (also --help), or a command or a group of flags",
    examples: [["quire help kv-cache", "the flags of the KV cache alone"]],
  },
  { name: "version", args: "", summary: "Show the version (also --version)", examples: [] },
] as const satisfies readonly CommandEntry[];

/** The name of a command. */
export type CommandName = (typeof COMMANDS)[number]["name"];

/** Width of a usage line up to its summary. */
const SUMMARY_COLUMN = 34;

/** The lines of `Usage:`, of one command or of all. */
export function usageOf(name?: CommandName): string {
  const shown: readonly CommandEntry[] = COMMANDS.filter((entry) =>
    name === undefined || entry.name === name
  );
  const lines = shown.map(({ name: command, args, summary }) => {
    const line = `  quire ${command} ${args}`.trimEnd();
    return name === undefined ? `${line.padEnd(SUMMARY_COLUMN - 1)} ${summary}` : line;
  });
  return ["Usage:", ...lines].join("\n");
}

/** The paragraph of examples of a command; empty where it has none. */
export function examplesOf(name: CommandName): string[] {
  const { examples }: CommandEntry = COMMANDS.find((entry) => entry.name === name)!;
  if (examples.length === 0) return [];
  const width = Math.max(...examples.map(([line]) => line.length));
  return [
    ["Examples:", ...examples.map(([line, meaning]) => `  ${line.padEnd(width)}  ${meaning}`)]
      .join("\n"),
  ];
}
