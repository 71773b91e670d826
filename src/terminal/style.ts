/** Wraps text into a colour or weight; without colour, text stays as it is. */
export type Paint = (text: string) => string;

/** The few looks that the terminal's output has. */
export interface Style {
  readonly isColoured: boolean;
  readonly bold: Paint;
  readonly dim: Paint;
  readonly italic: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
  readonly cyan: Paint;
}

/** The numbers of ECMA-48's SGR that switch a look on and off. */
const CODES = {
  bold: [1, 22],
  dim: [2, 22],
  italic: [3, 23],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const;

/** A style with colours, or the one that changes nothing. */
export function createStyle(isColoured: boolean): Style {
  const paint = (name: keyof typeof CODES): Paint => {
    const [on, off] = CODES[name];
    return isColoured ? (text) => `\x1b[${on}m${text}\x1b[${off}m` : (text) => text;
  };
  return {
    isColoured,
    bold: paint("bold"),
    dim: paint("dim"),
    italic: paint("italic"),
    red: paint("red"),
    green: paint("green"),
    yellow: paint("yellow"),
    cyan: paint("cyan"),
  };
}

/** Colours where the output is a terminal, unless `NO_COLOR` is set (no-color.org). */
export function styleOf(output: { isTerminal(): boolean }): Style {
  return createStyle(output.isTerminal() && !Deno.noColor);
}

/**
 * Text of a model or a server without what a terminal would act on: control characters but line
 * feeds and tabs, and the marks that turn the direction of writing.
 */
export function visibleText(text: string): string {
  // deno-lint-ignore no-control-regex -- control characters are what is taken out
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, "");
}
