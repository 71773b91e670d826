import type {
  ChatMessage,
  DetokenizerPort,
  StopStringPort,
  TextPort,
} from "../../src/http/text_port.ts";

/** Ends a sequence. */
export const EOS = 256;
/** Begins one, where special tokens are added. */
export const BOS = 257;
const SPECIAL_TEXTS = new Map([[EOS, "<eos>"], [BOS, "<bos>"]]);
const SPECIAL_IDS = new Map([["<eos>", [EOS]], ["<bos>", [BOS]]]);
/** Ids from here on stand for {@link PIECES}. */
const FIRST_PIECE = 258;
/** Tokens of more than one byte. */
export const PIECES = ["Hello", " world", "STOP", "ab", "XSTOPY", " caf\u00e9"] as const;

/** Id of one of {@link PIECES}. */
export function pieceId(piece: (typeof PIECES)[number]): number {
  return FIRST_PIECE + PIECES.indexOf(piece);
}

function bytesOf(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

function parsed(text: string): number[] {
  return text.split(/(<eos>|<bos>)/).flatMap((part) => SPECIAL_IDS.get(part) ?? bytesOf(part));
}

/** A tokenizer whose first 256 ids are bytes: no merges, so that every test can be read by eye. */
export class FakeText implements TextPort {
  readonly vocabSize = FIRST_PIECE + PIECES.length;
  readonly eosTokenIds = [EOS];

  encode(
    texts: readonly string[],
    { addSpecialTokens = true, parseSpecial = true } = {},
  ): Promise<readonly Uint32Array[]> {
    return Promise.resolve(texts.map((text) =>
      Uint32Array.from([
        ...(addSpecialTokens ? [BOS] : []),
        ...(parseSpecial ? parsed(text) : bytesOf(text)),
      ])
    ));
  }

  async encodeChat(
    messages: readonly ChatMessage[],
    { addGenerationPrompt = true, continueFinalMessage = false } = {},
  ): Promise<Uint32Array> {
    const text = messages.map(({ role, content }) => `${role}:${content}`).join("\n");
    const close = continueFinalMessage ? "" : addGenerationPrompt ? "\nassistant:" : "\n";
    const options = { addSpecialTokens: false, parseSpecial: false };
    const [ids] = await this.encode([text + close], options);
    return ids!;
  }

  decode(batch: readonly Iterable<number>[]): Promise<readonly string[]> {
    return Promise.resolve(batch.map((ids) => this.textOf(ids)));
  }

  /** Text of ids, at once. */
  textOf(ids: Iterable<number>): string {
    const bytes = [...ids].flatMap((id) => [...this.tokenBytes(id)]);
    return new TextDecoder().decode(Uint8Array.from(bytes));
  }

  createDetokenizer({ skipSpecialTokens = true } = {}): DetokenizerPort {
    const decoder = new TextDecoder();
    return {
      push: (ids) =>
        ids.map((id) =>
          SPECIAL_TEXTS.has(id)
            ? skipSpecialTokens ? "" : SPECIAL_TEXTS.get(id)!
            : decoder.decode(this.tokenBytes(id), { stream: true })
        ).join(""),
      flush: () => decoder.decode(),
    };
  }

  tokenText(id: number): string {
    return SPECIAL_TEXTS.get(id) ?? new TextDecoder().decode(this.tokenBytes(id));
  }

  tokenBytes(id: number): Uint8Array {
    if (id < 256) return Uint8Array.of(id);
    return new TextEncoder().encode(PIECES[id - FIRST_PIECE] ?? "");
  }
}

/** Stop strings by definition: looks at all of the text each time. */
export class FakeStopStrings implements StopStringPort {
  readonly #stops: readonly string[];
  #held = "";
  #matched: string | undefined;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  push(text: string): { text: string; matched?: string } {
    if (this.#matched !== undefined) return { text: "", matched: this.#matched };
    this.#held += text;
    const found = this.#stops
      .map((stop) => ({ stop, at: this.#held.indexOf(stop) }))
      .filter(({ at }) => at !== -1)
      .sort((a, b) => a.at - b.at || a.stop.length - b.stop.length)[0];
    if (found !== undefined) {
      this.#matched = found.stop;
      return { text: this.#held.slice(0, found.at), matched: found.stop };
    }
    let keep = 0;
    for (let length = 1; length <= this.#held.length; length++) {
      const suffix = this.#held.slice(-length);
      if (this.#stops.some((stop) => stop.startsWith(suffix))) keep = length;
    }
    const released = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(this.#held.length - keep);
    return { text: released };
  }

  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }
}
