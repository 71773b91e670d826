/** What is used of `node-llama-cpp` 3.22.1, whose types are not here. */
interface LlamaSequence {
  readonly contextTokens: readonly number[];
  /** Keeps the beginning that the tokens share with what is there, and erases the rest. */
  adaptStateToTokens(tokens: number[], allowShift: boolean): Promise<void>;
  readonly nextTokenIndex: number;
  evaluate(tokens: number[], options: Record<string, unknown>): AsyncGenerator<number, void>;
}
interface LlamaModel {
  tokenize(text: string, specialTokens: boolean): number[];
  detokenize(tokens: number[], specialTokens: boolean, before?: number[]): string;
  isEogToken(token: number): boolean;
  readonly tokens: {
    readonly bos: number | null;
    readonly shouldPrependBosToken: boolean;
    readonly bosString: string | null;
    readonly eosString: string | null;
  };
  readonly fileInfo: {
    readonly metadata: { readonly tokenizer: { readonly chat_template?: string } };
  };
}

/** How many sequences are computed side by side, of how many tokens, on how many threads. */
export interface SlotSizes {
  readonly numSlots: number;
  /** Of one sequence, prompt and answer together. */
  readonly contextLen: number;
  readonly numThreads: number;
}

/** How an answer is drawn. */
export interface DrawSettings {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly ignoreEos: boolean;
}

/** What comes of a prompt, token by token. */
export type SlotEvent =
  /** The tokens that were in the slot already, once there is one. */
  | { readonly numCached: number }
  /** A token was drawn; its text may be empty while a character is not whole. */
  | { readonly text: string }
  | { readonly end: "stop" | "length" };

/** A template of Jinja, as the package that llama.cpp's bindings bring along compiles it. */
interface Template {
  render(values: Record<string, unknown>): string;
}

/**
 * llama.cpp's sequences as slots, used as llama.cpp's own server does: a prompt gets the free slot
 * that shares the longest beginning with it, computes the rest, and waits where none is free. The
 * bindings batch what runs side by side.
 */
export class LlamaSlots {
  readonly #model: LlamaModel;
  readonly #free: LlamaSequence[];
  readonly #waiting: (() => void)[] = [];
  readonly #template: Template | undefined;
  readonly contextLen: number;

  private constructor(
    model: LlamaModel,
    slots: readonly LlamaSequence[],
    { template, contextLen }: {
      readonly template: Template | undefined;
      readonly contextLen: number;
    },
  ) {
    this.#model = model;
    this.#free = [...slots];
    this.#template = template;
    this.contextLen = contextLen;
  }

  /** Loads a GGUF file on the CPU, with the bindings that are installed in a folder. */
  static async open(install: string, modelPath: string, sizes: SlotSizes): Promise<LlamaSlots> {
    const { numSlots, contextLen, numThreads } = sizes;
    const { getLlama } = await import(entryOf(install, "node-llama-cpp/dist/index.js"));
    const offline = { gpu: false, build: "never", skipDownload: true, progressLogs: false };
    const llama = await getLlama({ ...offline, maxThreads: numThreads });
    const anyway = { ignoreMemorySafetyChecks: true };
    const model = await llama.loadModel({ modelPath, gpuLayers: 0, ...anyway });
    const context = await model.createContext({
      ...{ sequences: numSlots, contextSize: contextLen },
      threads: { ideal: numThreads, min: numThreads },
      ...anyway,
    });
    const slots = Array.from({ length: numSlots }, () => context.getSequence());
    const text = (model as LlamaModel).fileInfo.metadata.tokenizer.chat_template;
    if (text === undefined) {
      return new LlamaSlots(model, slots, { template: undefined, contextLen });
    }
    const { Template } = await import(entryOf(install, "@huggingface/jinja/dist/index.js"));
    return new LlamaSlots(model, slots, { template: new Template(text), contextLen });
  }

  /** The tokens of a text, with the model's begin token before them where it wants one. */
  tokensOf(text: string): number[] {
    const { bos, shouldPrependBosToken } = this.#model.tokens;
    const tokens = this.#model.tokenize(text, true);
    return shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
  }

  /** The tokens of a chat; undefined where the file has no template. */
  chatTokens(messages: readonly unknown[]): number[] | undefined {
    const { bosString, eosString } = this.#model.tokens;
    const text = this.#template?.render({
      messages,
      add_generation_prompt: true,
      bos_token: bosString ?? "",
      eos_token: eosString ?? "",
    });
    return text === undefined ? undefined : this.tokensOf(text);
  }

  /** Continues a prompt; whoever stops reading gives the slot back. */
  async *answer(prompt: readonly number[], settings: DrawSettings): AsyncGenerator<SlotEvent> {
    const slot = await this.#take(prompt);
    try {
      // The last token is always computed: its logits are what the first draw needs.
      await slot.adaptStateToTokens(prompt.slice(0, -1), false);
      const numCached = slot.nextTokenIndex;
      yield { numCached };
      yield* this.#draw(slot, prompt.slice(numCached), settings);
    } finally {
      this.#free.push(slot);
      this.#waiting.shift()?.();
    }
  }

  async *#draw(
    slot: LlamaSequence,
    tokens: number[],
    { maxTokens, temperature, ignoreEos }: DrawSettings,
  ): AsyncGenerator<SlotEvent> {
    const before: number[] = [];
    let held: number[] = [];
    let numTokens = 0;
    for await (const token of slot.evaluate(tokens, { temperature, yieldEogToken: true })) {
      numTokens++;
      if (!ignoreEos && this.#model.isEogToken(token)) {
        // The end token was computed as any other, and is counted as by Quire and by vLLM.
        yield { text: "" };
        yield { end: "stop" };
        return;
      }
      held.push(token);
      const text = this.#model.detokenize(held, false, before);
      const isWhole = !text.endsWith("\ufffd");
      yield { text: isWhole || numTokens === maxTokens ? text : "" };
      if (isWhole) {
        before.push(...held);
        held = [];
      }
      if (numTokens === maxTokens) break;
    }
    yield { end: "length" };
  }

  /** The free slot whose tokens begin most like the prompt. */
  async #take(prompt: readonly number[]): Promise<LlamaSequence> {
    while (this.#free.length === 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const shared = this.#free.map(({ contextTokens }) => commonLength(contextTokens, prompt));
    const [slot] = this.#free.splice(shared.indexOf(Math.max(...shared)), 1);
    return slot!;
  }
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++;
  return length;
}

function entryOf(install: string, path: string): string {
  return new URL(`file://${install}/node_modules/${path}`).href;
}
