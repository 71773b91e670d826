import type { ParsedCall } from "./call_parser.ts";

/** Words of Python, and of JSON, that stand for values. */
const WORDS: Readonly<Record<string, unknown>> = {
  ...{ True: true, False: false, None: null },
  ...{ true: true, false: false, null: null },
};
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f" };

/** Calls in Python's notation, `[f(a=1, b="x"), g()]`; undefined for another text. */
export function parsePythonCalls(text: string): readonly ParsedCall[] | undefined {
  const reader = new Reader(text);
  try {
    const calls = reader.list("[", "]", () => reader.call());
    reader.end();
    return calls.length > 0 ? calls : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Reads literals and calls from the start of a text on. */
class Reader {
  #at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  call(): ParsedCall {
    const name = this.#match(/[A-Za-z_][\w.-]*/y);
    const pairs = this.list("(", ")", () => {
      const key = this.#match(/[A-Za-z_]\w*/y);
      this.#skip("=");
      return [key, this.#value()] as const;
    });
    return { name, arguments: Object.fromEntries(pairs) };
  }

  /** Items between brackets, with commas between them. */
  list<T>(open: string, close: string, item: () => T): T[] {
    this.#skip(open);
    const items: T[] = [];
    while (!this.#skips(close)) {
      if (items.length > 0) this.#skip(",");
      if (this.#skips(close)) break;
      items.push(item());
    }
    return items;
  }

  end(): void {
    this.#match(/\s*$/y);
  }

  #value(): unknown {
    const next = this.#peek();
    if (next === '"' || next === "'") return this.#string();
    if (next === "[") return this.list("[", "]", () => this.#value());
    if (next === "(") return this.list("(", ")", () => this.#value());
    if (next === "{") {
      return Object.fromEntries(this.list("{", "}", () => {
        const key = String(this.#value());
        this.#skip(":");
        return [key, this.#value()] as const;
      }));
    }
    const word = this.#match(/[A-Za-z]+|-?\d+(\.\d+)?([eE][+-]?\d+)?/y);
    if (Object.hasOwn(WORDS, word)) return WORDS[word];
    if (/^[A-Za-z]/.test(word)) throw new SyntaxError(word);
    return Number(word);
  }

  #string(): string {
    const quoted = this.#match(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/ys);
    return quoted.slice(1, -1).replace(
      /\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))/gs,
      (_, unit, byte, character) =>
        character === undefined
          ? String.fromCharCode(parseInt(unit ?? byte, 16))
          : ESCAPES[character] ?? character,
    );
  }

  #peek(): string {
    this.#match(/\s*/y);
    return this.#text[this.#at] ?? "";
  }

  #skips(token: string): boolean {
    if (this.#peek() !== token) return false;
    this.#at++;
    return true;
  }

  #skip(token: string): void {
    if (!this.#skips(token)) throw new SyntaxError(token);
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    if (found === undefined) throw new SyntaxError(String(pattern));
    this.#at += found.length;
    return pattern.source.startsWith("\\s") ? found : (this.#afterSpace(), found);
  }

  #afterSpace(): void {
    while (/\s/.test(this.#text[this.#at] ?? "")) this.#at++;
  }
}
