import packageText from "@mlc-ai/web-xgrammar/lib/index.js" with { type: "text" };
import { invariant } from "../base/invariant.ts";
import { importIndex, meterWasm, UNITS_EXPORT, UNITS_PER_CHECK } from "./metered_wasm.ts";

/** An object of the library's memory; see embind's `ClassHandle`. */
export interface NativeObject {
  /** Where it lies in the instance's memory. */
  readonly $$: { ptr: number };
  delete(): void;
}

/** A state of matching. */
export interface NativeMatcher extends NativeObject {
  AcceptToken(token: number, verbose: boolean): boolean;
  GetNextTokenBitmask(vocabSize: number): NativeObject;
}

/** Makes compiled grammars of one vocabulary. */
export interface NativeCompiler extends NativeObject {
  CompileStructuralTag(tag: string): NativeObject;
}

/** The part of the library's binding that is used here: the C++ interface of XGrammar 0.1.27. */
export interface Binding {
  readonly TokenizerInfo: new (
    vocabulary: NativeObject,
    type: "RAW" | "BYTE_LEVEL",
    vocabSize: number,
    stopTokenIds: NativeObject,
    prependsSpace: boolean,
  ) => NativeObject;
  readonly GrammarCompiler: new (
    tokenizer: NativeObject,
    maxThreads: number,
    isCached: boolean,
  ) => NativeCompiler;
  readonly GrammarMatcher: new (
    grammar: NativeObject,
    stopTokenIds: NativeObject | undefined,
    endsWithoutStop: boolean,
    maxRollback: number,
  ) => NativeMatcher;
  readonly Grammar: {
    FromStructuralTag(tag: string): NativeObject & { ToString(): string };
  };
  vecStringFromJSArray(texts: readonly string[]): NativeObject;
  vecIntFromJSArray(numbers: readonly number[]): NativeObject;
  vecIntToView(vector: NativeObject): Int32Array;
}

/** A call took longer than its deadline, or more memory than an instance may have. */
export class GrammarLimitError extends Error {
  override name = "GrammarLimitError";
}

/** The objects of an instance that a memory restored into it may hold at other addresses. */
export interface Handles {
  readonly compiler: NativeCompiler;
  readonly grammar: NativeObject;
}

type ImportedFunction = (...args: never[]) => unknown;
type Imports = Record<string, ImportedFunction>;
type CreateBinding = (module: object) => Promise<Binding>;

const CODE_URI = /data:application\/octet-stream;base64,([A-Za-z0-9+/=]+)/;
/** The names of two imports in the package's text, where the WebAssembly has letters for them. */
const CHECK = "__emscripten_get_now_is_monotonic";
const RESIZE = "_emscripten_resize_heap";
/** Marks of the package's text that are changed: it exports its classes, but not its binding. */
const LAST_EXPORT = "exports.default = index;";

let createBinding: CreateBinding | undefined;
let code: Uint8Array<ArrayBuffer> | undefined;
let compiledModule: WebAssembly.Module | undefined;

/**
 * XGrammar's own WebAssembly with checks of the time in it, and the same bytes for other threads.
 * Made at the first call, some 100 ms.
 */
export function meteredCode(): Uint8Array<ArrayBuffer> {
  if (code !== undefined) return code;
  const [, base64] = CODE_URI.exec(packageText) ?? [];
  invariant(base64 !== undefined, "web-xgrammar has no WebAssembly in it");
  const original = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const letter = new RegExp(`[{,](\\w+):${CHECK}\\b`).exec(packageText)?.[1];
  invariant(letter !== undefined, `web-xgrammar does not import ${CHECK}`);
  const check = importIndex(new WebAssembly.Module(original), letter);
  invariant(check !== -1, `web-xgrammar's code does not import ${letter}`);
  return code = meterWasm(original, check);
}

/**
 * One instance of XGrammar (Dong 2024, arXiv:2411.15100) with a memory of its own.
 *
 * A call that fails, in the library's own way or at a limit, leaves the memory in any state: the
 * instance is dropped then. So a grammar that does harm has an instance to itself.
 */
export class XGrammar {
  readonly binding: Binding;
  readonly #messages: string[];
  readonly #limits: { deadline: number; maxBytes: number };
  readonly #memory: WebAssembly.Memory;

  /** @param numBytes size of the memory at least; @param wasm see {@link meteredCode}. */
  constructor(wasm: Uint8Array<ArrayBuffer>, { numBytes = 0, maxBytes = Infinity } = {}) {
    compiledModule ??= new WebAssembly.Module(wasm);
    const messages: string[] = [];
    const limits = { deadline: Infinity, maxBytes };
    const started: { instance?: WebAssembly.Instance } = {};
    const module = {
      print: () => {},
      printErr: (line: string) => messages.push(line),
      instantiateWasm(
        { a: imports }: { a: Imports },
        done: (instance: WebAssembly.Instance) => void,
      ) {
        const instance = instantiate(imports, limits);
        started.instance = instance;
        const memory = memoryOf(instance);
        const numMissing = numBytes - memory.buffer.byteLength;
        if (numMissing > 0) memory.grow(Math.ceil(numMissing / 65536));
        done(instance);
        return instance.exports;
      },
    };
    // It is complete when the call returns: what it waits for is compiled already.
    loadPackage()(module).catch(() => {});
    invariant(started.instance !== undefined, "web-xgrammar does not start at once");
    this.binding = module as unknown as Binding;
    this.#memory = memoryOf(started.instance);
    this.#messages = messages;
    this.#limits = limits;
  }

  /** All of its memory; another buffer after a call that makes it grow. */
  get memory(): ArrayBuffer {
    return this.#memory.buffer as ArrayBuffer;
  }

  /**
   * Objects of a small grammar, whose addresses are changed to those of objects in a memory that is
   * restored afterwards.
   */
  handles(): Handles {
    const { binding } = this;
    const texts = binding.vecStringFromJSArray(["a", ""]);
    const tokenizer = new binding.TokenizerInfo(
      texts,
      "RAW",
      2,
      binding.vecIntFromJSArray([1]),
      false,
    );
    const compiler = new binding.GrammarCompiler(tokenizer, 1, false);
    const a = `{"type":"structural_tag","format":{"type":"const_string","value":"a"}}`;
    return { compiler, grammar: compiler.CompileStructuralTag(a) };
  }

  /**
   * Runs `call` for at most `deadlineMs`.
   *
   * @throws {GrammarLimitError} beyond it, or out of memory.
   * @throws {Error} with the library's own words, where it has given up.
   */
  within<T>(deadlineMs: number, call: () => T): T {
    this.#messages.length = 0;
    this.#limits.deadline = performance.now() + deadlineMs;
    try {
      return call();
    } catch (error) {
      // Errors of this program go on as they are; the library's own words are more than its trap.
      if (typeof error === "number") throw new Error(this.#thrownText(error));
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      throw new Error(this.warnings.at(-1) ?? error.message);
    } finally {
      this.#limits.deadline = Infinity;
    }
  }

  /** The text of a `std::runtime_error` at an address: its second word points to it. */
  #thrownText(address: number): string {
    const bytes = new Uint8Array(this.memory);
    const start = new DataView(this.memory).getUint32(address + 4, true);
    const end = bytes.indexOf(0, start);
    return new TextDecoder().decode(bytes.slice(start, Math.min(end, start + 1000)));
  }

  /** What the library has said in the latest call. */
  get warnings(): readonly string[] {
    // Each begins with a time and a place in the library's source.
    return this.#messages.map((line) => line.replace(/^\[.*?\] \S+?:\d+: /, ""))
      .filter((line) => line !== "" && !line.startsWith("Aborted("));
  }
}

/** The package's own loader, which is made for pages and scripts, as a function. */
function loadPackage(): CreateBinding {
  if (createBinding !== undefined) return createBinding;
  invariant(packageText.includes(LAST_EXPORT), "web-xgrammar's text is another");
  const text = packageText.replace(CODE_URI, "xgrammar.wasm")
    .replace(LAST_EXPORT, "exports.createBinding = Module;");
  // The names that tell it where it runs: neither in Node nor in a page.
  const names = ["exports", "module", "process", "require", "document", "location"];
  const exported: { createBinding?: CreateBinding } = {};
  new Function(...names, text)(exported, {}, undefined, undefined, undefined, { href: "file:///" });
  return createBinding = exported.createBinding!;
}

function instantiate(
  imports: Imports,
  limits: { readonly deadline: number; readonly maxBytes: number },
): WebAssembly.Instance {
  const changed: Imports = { ...imports };
  const place: { instance?: WebAssembly.Instance } = {};
  replace(changed, CHECK, () => () => {
    const units = place.instance?.exports[UNITS_EXPORT] as WebAssembly.Global | undefined;
    if (units !== undefined) units.value = UNITS_PER_CHECK;
    if (performance.now() > limits.deadline) throw new GrammarLimitError("time");
    return 1;
  });
  replace(changed, RESIZE, (resize) => (numBytes: number) => {
    if (numBytes >>> 0 > limits.maxBytes) throw new GrammarLimitError("memory");
    return (resize as (numBytes: number) => unknown)(numBytes);
  });
  const instance = new WebAssembly.Instance(compiledModule!, { a: changed });
  place.instance = instance;
  return instance;
}

function replace(
  imports: Imports,
  name: string,
  change: (original: ImportedFunction) => ImportedFunction,
): void {
  const letter = Object.keys(imports).find((letter) => imports[letter]!.name === name);
  invariant(letter !== undefined, `web-xgrammar has no import ${name}`);
  imports[letter] = change(imports[letter]!);
}

function memoryOf({ exports }: WebAssembly.Instance): WebAssembly.Memory {
  const memory = Object.values(exports).find((one) => one instanceof WebAssembly.Memory);
  invariant(memory !== undefined, "web-xgrammar exports no memory");
  return memory;
}
