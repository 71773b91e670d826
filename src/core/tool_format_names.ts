/** How families of models write calls of tools, as `--tool-call-parser` names it. */
export const TOOL_FORMATS = [
  "hermes",
  "qwen3_xml",
  "llama3_json",
  "pythonic",
  "mistral",
  "gemma",
  "phi",
  "granite",
  "lfm2",
] as const;

/** One of {@link TOOL_FORMATS}. */
export type ToolFormatName = typeof TOOL_FORMATS[number];
