import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { TOOL_FORMATS, type ToolFormatName } from "../../src/core/tool_format_names.ts";
import type { ToolDefinition, ToolParser, ToolPiece } from "../../src/core/tool_parser.ts";
import { forcedCall, forcedCalls } from "../../src/tools/forced_calls.ts";
import { createToolParser, formatOfTemplate } from "../../src/tools/tool_formats.ts";
import { runs } from "../support/runs.ts";
import { hasSharedData, readSharedData } from "./templates.ts";

const TOOLS: readonly ToolDefinition[] = [{
  name: "get_weather",
  parameters: {
    type: "object",
    properties: { city: { type: "string" }, days: { type: "integer" } },
  },
}];

/** A text as a model writes it: what it says, and its calls as names and arguments. */
interface Recorded {
  readonly text: string;
  readonly says: string;
  readonly calls: readonly (readonly [name: string, given: unknown])[];
}

function recorded(text: string, says: string, ...calls: Recorded["calls"]): Recorded {
  return { text, says, calls };
}

const PARIS = ["get_weather", { city: "Paris", days: 3 }] as const;
const ODD = ["say", { text: 'a "quoted" } ] </tool_call> [TOOL_CALLS] \\ \n é𝄞' }] as const;
const NONE = ["now", {}] as const;

function json([name, given]: readonly [string, unknown], key = "arguments"): string {
  return JSON.stringify({ name, [key]: given });
}

/** The texts of each format, written for these tests after the families' templates. */
const RECORDED: Readonly<Record<ToolFormatName, readonly Recorded[]>> = {
  hermes: [
    recorded(
      "Just an answer with a < b and <tool_ca.\n",
      "Just an answer with a < b and <tool_ca.\n",
    ),
    recorded(`<tool_call>\n${json(PARIS)}\n</tool_call>`, "", PARIS),
    recorded(
      `Let me look.\n\n<tool_call>\n${json(PARIS)}\n</tool_call>\n<tool_call>${
        json(ODD)
      }</tool_call>\n`,
      "Let me look.",
      PARIS,
      ODD,
    ),
    recorded(`<tool_call>${json(NONE)}</tool_call> Done. `, "Done.", NONE),
    recorded(`a <tool_call>{"name": "cut", "argum`, "a"),
    recorded(`a <tool_call>no call</tool_call>b`, "a b"),
    recorded(`<tool_call>${json(PARIS)}`, "", PARIS),
  ],
  qwen3_xml: [
    recorded("Plain <func text", "Plain <func text"),
    recorded(
      "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
      "",
      PARIS,
    ),
    recorded(
      "Hm.\n<tool_call>\n<function=get_weather>\n<parameter=city>\n12\n</parameter>\n</function>\n</tool_call>",
      "Hm.",
      ["get_weather", { city: "12" }],
    ),
    recorded(
      '<tool_call><function=other>\n<parameter=list>\n[1, {"a": null}]\n</parameter>\n<parameter=code>\nif a < b:\n  pass\n</parameter></function></tool_call>\n<tool_call><function=now></function></tool_call>',
      "",
      ["other", { list: [1, { a: null }], code: "if a < b:\n  pass" }],
      NONE,
    ),
  ],
  llama3_json: [
    recorded("A text with {braces}.", "A text with {braces}."),
    recorded(json(PARIS, "parameters"), "", PARIS),
    recorded(` \n<|python_tag|>${json(PARIS, "parameters")}`, "", PARIS),
    recorded(`${json(PARIS, "parameters")}; ${json(ODD, "parameters")}`, "", PARIS, ODD),
    recorded(`{"answer": 42}`, `{"answer": 42}`),
    recorded(`{"name": "cut", "parameters": {"a": "`, ""),
  ],
  pythonic: [
    recorded("A list: [1, 2]", "A list: [1, 2]"),
    recorded(`[get_weather(city="Paris", days=3)]`, "", PARIS),
    recorded(
      `<|python_start|>[now(), get_weather(city='Paris', days=3)]<|python_end|>`,
      "",
      NONE,
      PARIS,
    ),
    recorded(`[f(a=True, b=None, c=-1.5e3, d=['x', {"k": (1, 2)}], e="it's \\"so\\"\\n")]`, "", [
      "f",
      { a: true, b: null, c: -1500, d: ["x", { k: [1, 2] }], e: 'it\'s "so"\n' },
    ]),
    recorded("[1, 2, 3]", "[1, 2, 3]"),
    recorded("[see the note] first", "[see the note] first"),
  ],
  mistral: [
    recorded("A [TOOL is text", "A [TOOL is text"),
    recorded(`[TOOL_CALLS][${json(PARIS)}, ${json(ODD)}]`, "", PARIS, ODD),
    recorded(`[TOOL_CALLS] [${json(PARIS)}]`, "", PARIS),
    recorded(
      `Sure. [TOOL_CALLS]get_weather{"city": "Paris", "days": 3}[TOOL_CALLS]now{}`,
      "Sure.",
      PARIS,
      NONE,
    ),
    recorded(`[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 3}`, "", PARIS),
  ],
  gemma: [
    recorded("Not <start_func tagged", "Not <start_func tagged"),
    recorded(
      "<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:3}<end_function_call>",
      "",
      PARIS,
    ),
    recorded(
      "Hm <start_function_call>call:now{}<end_function_call><start_function_call>call:f{a:[1,true],o:{k:<escape>x:{y},z<escape>}}<end_function_call>",
      "Hm",
      NONE,
      ["f", { a: [1, true], o: { k: "x:{y},z" } }],
    ),
  ],
  phi: [
    recorded("functools are nice, functool", "functools are nice, functool"),
    recorded(`functools[${json(PARIS)}, ${json(ODD)}]`, "", PARIS, ODD),
    recorded(`I call <|tool_call|>[${json(PARIS)}]<|/tool_call|>`, "I call", PARIS),
  ],
  granite: [
    recorded("No <|tool here", "No <|tool here"),
    recorded(`<|tool_call|>[${json(PARIS)}, ${json(NONE)}]`, "", PARIS, NONE),
    recorded(`So:\n<tool_call>\n${json(ODD)}\n</tool_call>`, "So:", ODD),
  ],
  lfm2: [
    recorded("A <|tool text", "A <|tool text"),
    recorded(
      `<|tool_call_start|>[get_weather(city="Paris", days=3)]<|tool_call_end|>Checking.`,
      "Checking.",
      PARIS,
    ),
    recorded(`Now. <|tool_call_start|>[now()]<|tool_call_end|>`, "Now.", NONE),
  ],
};

function piecesOf(parser: ToolParser, parts: readonly string[]): ToolPiece[] {
  return [...parts.flatMap((part) => parser.push(part)), ...parser.flush()];
}

/** Pieces without the splits of their text. */
function joined(pieces: readonly ToolPiece[]): ToolPiece[] {
  const result: ToolPiece[] = [];
  for (const piece of pieces) {
    const last = result.at(-1);
    if (piece.type === "text" && last?.type === "text") {
      result[result.length - 1] = { type: "text", text: last.text + piece.text };
    } else result.push(piece);
  }
  return result;
}

function textOf(pieces: readonly ToolPiece[]): string {
  return pieces.map((piece) => piece.type === "text" ? piece.text : "").join("");
}

/** Cuts a text at places that a list of lengths gives, over and over. */
function cut(text: string, lengths: readonly number[]): string[] {
  const parts: string[] = [];
  let at = 0;
  while (at < text.length) {
    const length = lengths[parts.length % lengths.length]!;
    parts.push(text.slice(at, at + length));
    at += length;
  }
  return parts;
}

for (const format of TOOL_FORMATS) {
  Deno.test(`${format}: recorded texts are what they say, and the calls that they make`, () => {
    for (const { text, says, calls } of RECORDED[format]) {
      const pieces = piecesOf(createToolParser(format, TOOLS), [text]);
      const found = pieces.flatMap((piece) =>
        piece.type === "call" ? [[piece.name, JSON.parse(piece.arguments)]] : []
      );
      assertEquals([textOf(pieces), found], [says, calls], text);
    }
  });

  Deno.test(`${format}: however a text is split, the result is the same, and no part of a call is text`, () => {
    const wholes = RECORDED[format].map(({ text }) => ({
      text,
      pieces: joined(piecesOf(createToolParser(format, TOOLS), [text])),
    }));
    fc.assert(
      fc.property(
        fc.nat(wholes.length - 1),
        fc.array(fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 256 })), {
          minLength: 1,
          maxLength: 12,
        }),
        (which, lengths) => {
          const { text, pieces } = wholes[which]!;
          const split = piecesOf(createToolParser(format, TOOLS), cut(text, lengths));
          assertEquals(joined(split), pieces);
        },
      ),
      { seed: 51, numRuns: runs(10_000) },
    );
  });
}

Deno.test("any text without a mark is text, whatever the format and the split", () => {
  const words = fc.constantFrom("a", " ", "\n", "<", "[", "(", "tool", "|", ">", ".", "é");
  fc.assert(
    fc.property(
      fc.constantFrom(...TOOL_FORMATS),
      fc.array(words, { maxLength: 30 }).map((all) => `x${all.join("")}`),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }),
      (format, text, lengths) => {
        const pieces = piecesOf(createToolParser(format, TOOLS), cut(text, lengths));
        assertEquals(textOf(pieces), text);
      },
    ),
    { seed: 52, numRuns: runs(2000) },
  );
});

Deno.test("text comes as soon as it can be no part of a mark", () => {
  const parser = createToolParser("hermes", TOOLS);
  assertEquals(parser.push("Hi <to"), [{ type: "text", text: "Hi" }]);
  assertEquals(parser.push("p"), [{ type: "text", text: " <top" }]);
  assertEquals(parser.push("<tool_call>"), []);
});

Deno.test("formatOfTemplate() knows the families by their templates", () => {
  const known: [string, ToolFormatName | undefined][] = [
    ["NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes"],
    ["Qwen-Qwen2.5-7B-Instruct", "hermes"],
    ["Qwen-Qwen3-0.6B", "hermes"],
    ["meta-llama-Llama-3.1-8B-Instruct", "llama3_json"],
    ["meta-llama-Llama-3.2-3B-Instruct", "llama3_json"],
    ["mistralai-Mistral-Nemo-Instruct-2407", "mistral"],
    ["ibm-granite-granite-3.3-2B-Instruct", "granite"],
    ["google-gemma-2-2b-it", undefined],
  ];
  for (const [name, format] of known) {
    if (!hasSharedData(name)) continue;
    assertEquals(formatOfTemplate(readSharedData(name)), format, name);
  }
  assertEquals(formatOfTemplate("{% for t in tools %}<function=name>"), "qwen3_xml");
  assertEquals(formatOfTemplate("{{ tools }}<|tool_call_start|>"), "lfm2");
  assertEquals(formatOfTemplate("{{ messages }}<tool_call>"), undefined);
});

Deno.test("forced calls are read whole or not at all, and named ones are all arguments", () => {
  const list = forcedCalls(TOOLS, true).createParser();
  const text = `${json(PARIS, "parameters")}, ${json(NONE, "parameters")}`;
  assertEquals(
    piecesOf(list, cut(text, [3])).map((piece) => piece.type === "call" ? piece.name : piece.text),
    ["get_weather", "now"],
  );
  assertEquals(piecesOf(forcedCalls(TOOLS, true).createParser(), [text.slice(0, 30)]), []);
  const named = forcedCall(TOOLS[0]!).createParser();
  assertEquals(piecesOf(named, ['{"ci', 'ty": ']), [
    { type: "call", name: "get_weather", arguments: '{"city": ' },
  ]);
  assert(JSON.stringify(forcedCalls(TOOLS, false).format).includes('"stop_after_first":true'));
});
