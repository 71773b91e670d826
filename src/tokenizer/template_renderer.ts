import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { stripMethod } from "./jinja_strip.ts";
import { textOfUndefined } from "./jinja_undefined.ts";
import { strftime } from "./strftime.ts";

/** What one render may cost. */
export interface RenderLimits {
  /** Time for one render, ms. */
  readonly deadlineMs: number;
  /** Longest result, and longest intermediate text, UTF-16 code units. */
  readonly maxChars: number;
}

/** How a render ended; data, since it crosses from a Worker. */
export type RenderOutcome =
  | { readonly type: "rendered"; readonly text: string }
  /** `raised`: the template refuses; `limit`: it costs too much; `failed`: it has an error. */
  | { readonly type: "raised" | "limit" | "failed"; readonly message: string };

type Program = ReturnType<typeof parse>;
type Statement = Parameters<Interpreter["evaluate"]>[0];
type Value = ReturnType<Interpreter["evaluate"]>;

/** Most items of a list that a template makes. */
const MAX_ITEMS = 100_000;

/**
 * Work between two checks of the clock, in units of some microsecond: a statement, a list's item.
 */
const UNITS_PER_CHECK = 64;

/** Characters copied in one unit of work. */
const CHARS_PER_UNIT = 1024;

/** Ends a render from within; becomes an outcome in {@link renderTemplate}. */
class Refusal extends Error {
  constructor(readonly type: "raised" | "limit", message: string) {
    super(message);
  }
}

/**
 * Evaluates as the library does, and checks the clock and the size of every value. A Worker in a
 * busy loop cannot be killed (Deno 2.9.6: `terminate()` leaves it running), so a template that
 * takes too long has to be stopped from inside.
 */
class LimitedInterpreter extends Interpreter {
  #work = 0;
  readonly #limits: RenderLimits;
  readonly #clock: () => number;
  readonly #deadline: number;
  readonly #evaluateAgain = this.evaluate.bind(this);

  constructor(environment: Environment, limits: RenderLimits, clock: () => number) {
    super(environment);
    this.#limits = limits;
    this.#clock = clock;
    this.#deadline = clock() + limits.deadlineMs;
  }

  override evaluate(statement: Statement, environment: Environment): Value {
    const result = stripMethod(statement, environment, this.#evaluateAgain) ??
      textOfUndefined(statement, environment, this.#evaluateAgain) ??
      super.evaluate(statement, environment);
    const { value } = result;
    if (typeof value === "string") {
      if (value.length > this.#limits.maxChars) {
        throw new Refusal("limit", `makes a text of over ${this.#limits.maxChars} characters`);
      }
      this.#spend(1 + value.length / CHARS_PER_UNIT);
    } else if (Array.isArray(value)) {
      requireItems(value.length);
      // The list is about to be iterated.
      this.#spend(1 + value.length);
    } else {
      this.#spend(1);
    }
    return result;
  }

  /** Counts work, and checks the clock after every {@link UNITS_PER_CHECK} units. */
  #spend(units: number): void {
    this.#work += units;
    if (this.#work < UNITS_PER_CHECK) return;
    this.#work = 0;
    if (this.#clock() > this.#deadline) {
      throw new Refusal("limit", `takes longer than ${this.#limits.deadlineMs} ms`);
    }
  }
}

function requireItems(count: number): void {
  if (count > MAX_ITEMS) throw new Refusal("limit", `makes a list of over ${MAX_ITEMS} items`);
}

/**
 * Parses a chat template, with the white-space rules of Hugging Face's own renderer.
 *
 * @throws {Error} the library's, for bad syntax.
 */
export function parseTemplate(source: string): Program {
  return parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
}

/**
 * Renders a parsed template. Beside `variables` it sees `raise_exception`, `range`, `strftime_now`
 * and Jinja's constants.
 *
 * @param now the time that `strftime_now` tells.
 * @param clock monotonic time, ms.
 */
export function renderTemplate(
  program: Program,
  variables: Readonly<Record<string, unknown>>,
  limits: RenderLimits,
  now: Date = new Date(),
  clock: () => number = () => performance.now(),
): RenderOutcome {
  try {
    const environment = createEnvironment(variables, now);
    const result = new LimitedInterpreter(environment, limits, clock).run(program);
    return { type: "rendered", text: String(result.value) };
  } catch (error) {
    if (error instanceof Refusal) return { type: error.type, message: error.message };
    return { type: "failed", message: error instanceof Error ? error.message : String(error) };
  }
}

/** The library's own globals cannot be replaced, so all of them are set here instead. */
function createEnvironment(
  variables: Readonly<Record<string, unknown>>,
  now: Date,
): Environment {
  const globals = {
    ...{ true: true, True: true, false: false, False: false, none: null, None: null },
    raise_exception: (message: unknown) => {
      throw new Refusal("raised", String(message));
    },
    range,
    strftime_now: (format: unknown) => strftime(String(format), now),
    ...variables,
  };
  const environment = new Environment();
  for (const [name, value] of Object.entries(globals)) environment.set(name, value);
  return environment;
}

/** Python's `range`, of at most {@link MAX_ITEMS} numbers. */
function range(first: unknown, second?: unknown, step: unknown = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (!isInteger(start) || !isInteger(stop) || !isInteger(step) || step === 0) {
    throw new TypeError("range() takes integers, and a step other than 0");
  }
  const count = Math.max(0, Math.ceil((stop - start) / step));
  requireItems(count);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
