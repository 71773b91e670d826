import { characters, SHARED_RULES, STRING_FORMATS, times } from "./json_rules.ts";
import { PatternError, patternInJson } from "./json_pattern.ts";
import { ANY_INTEGER, ANY_NUMBER, type NumberBounds, numberPattern } from "./number_pattern.ts";
import { asArray, isKeywords, type Keywords, SchemaError, SchemaReader } from "./schema_reader.ts";

/** A grammar in EBNF, in which some rules are still regular expressions. */
export interface SchemaGrammar {
  readonly rules: ReadonlyMap<string, string>;
  readonly patterns: ReadonlyMap<string, string>;
}

/**
 * The grammar of a schema's values, in EBNF with the rule `root`.
 *
 * Whatever it generates is valid, though it does not generate all that is: properties that are not
 * named come only where none is, in any order but each in its place, numbers have at most 15 digits
 * before and after the point, and white space is bounded. XGrammar's own conversion passes over
 * keywords in silence, and its ranges of numbers and lengths of strings let invalid texts through
 * (0.1.27); so this one stands in its place.
 *
 * O(schema).
 *
 * @throws {SchemaError} naming a keyword that the grammar would not hold to, and its place.
 */
export function schemaGrammar(schema: unknown): SchemaGrammar {
  return new Writer(schema).write();
}

class Writer {
  readonly #reader: SchemaReader;
  readonly #rules = new Map<string, string>(SHARED_RULES);
  readonly #patterns = new Map<string, string>([
    ["number", ANY_NUMBER],
    ["integer", ANY_INTEGER],
  ]);
  readonly #ruleOfReference = new Map<string, string>();
  /** References that the schema being written consists of, without a bracket around it. */
  #bare: readonly string[] = [];

  constructor(schema: unknown) {
    this.#reader = new SchemaReader(schema);
  }

  write(): SchemaGrammar {
    this.#rules.set("root", this.#schema(this.#reader.root, "#"));
    return { rules: this.#rules, patterns: this.#patterns };
  }

  /** The expression of a schema. */
  #schema(schema: unknown, at: string): string {
    const one = this.#reader.read(schema, at);
    switch (one.type) {
      case "any":
        return "value";
      case "values":
        return alternatives(one.values.map((value) => quoted(JSON.stringify(value))));
      case "reference":
        return this.#reference(one.reference, at);
      case "anyOf":
        return alternatives(
          one.schemas.map((branch, i) => this.#schema(branch, `${at}/${one.keyword}/${i}`)),
        );
      case "types":
        return alternatives(one.types.map((type) => this.#ofType(type, one.keywords, at)));
    }
  }

  #ofType(type: string, keywords: Keywords, at: string): string {
    switch (type) {
      case "object":
        return this.#within(() => this.#object(keywords, at));
      case "array":
        return this.#within(() => this.#array(keywords, at));
      case "string":
        return this.#string(keywords, at);
      case "number":
      case "integer":
        return this.#number(type, keywords, at);
      case "boolean":
        return `("true" | "false")`;
      default:
        return `"null"`;
    }
  }

  /** A bracket stands around what is written inside. */
  #within(write: () => string): string {
    const outer = this.#bare;
    this.#bare = [];
    const expression = this.#rule(write());
    this.#bare = outer;
    return expression;
  }

  #object(keywords: Keywords, at: string): string {
    const required = asArray(keywords.required ?? [], `required at ${at}`) as string[];
    const others = keywords.additionalProperties ?? keywords.unevaluatedProperties ?? true;
    const named = this.#namedProperties(keywords, required, others, at);
    const min = Number(keywords.minProperties ?? 0);
    const max = Number(keywords.maxProperties ?? Infinity);
    if (named.length > 0 || others === false) {
      // A name that is written freely could be one of the named ones, with another's value.
      if (min > required.length) throw new SchemaError(`minProperties at ${at}`);
      if (max < named.length) throw new SchemaError(`maxProperties at ${at}`);
      return this.#members(named);
    }
    // The same name may come twice, and counts once.
    if (min > 1) throw new SchemaError(`minProperties at ${at}`);
    const value = this.#schema(others, `${at}/additionalProperties`);
    const member = this.#rule(`string ws ":" ws ${value}`);
    return list("{", member, "}", min, max);
  }

  #namedProperties(
    keywords: Keywords,
    required: readonly string[],
    others: unknown,
    at: string,
  ): { readonly member: string; readonly isRequired: boolean }[] {
    const given = isKeywords(keywords.properties) ? keywords.properties : {};
    const names = new Set([...Object.keys(given), ...required]);
    return [...names].flatMap((name) => {
      const isGiven = Object.hasOwn(given, name);
      const isRequired = required.includes(name);
      const schema = isGiven ? given[name] : others;
      // A property that no value fits is left out.
      if (schema === false && !isRequired) return [];
      const place = isGiven ? `properties/${this.#reader.escape(name)}` : "additionalProperties";
      const value = this.#schema(schema, `${at}/${place}`);
      const member = this.#rule(`${quoted(JSON.stringify(name))} ws ":" ws ${value}`);
      return [{ member, isRequired }];
    });
  }

  /** The named properties in their order, those that are not required or not. */
  #members(
    named: readonly { readonly member: string; readonly isRequired: boolean }[],
  ): string {
    let rest = `""`;
    let first = `""`;
    for (const { member, isRequired } of named.toReversed()) {
      const begun = `${member} ${rest}`;
      const goesOn = `ws "," ws ${begun}`;
      first = this.#rule(isRequired ? begun : `${begun} | ${first}`);
      rest = this.#rule(isRequired ? goesOn : `${goesOn} | ${rest}`);
    }
    return `"{" ws ${first} ws "}"`;
  }

  #array(keywords: Keywords, at: string): string {
    const prefix = asArray(keywords.prefixItems ?? [], `prefixItems at ${at}`);
    const more = keywords.items ?? keywords.unevaluatedItems ?? true;
    const min = Number(keywords.minItems ?? 0);
    const max = Number(keywords.maxItems ?? Infinity);
    const first = prefix.slice(0, max)
      .map((item, i) => this.#schema(item, `${at}/prefixItems/${i}`));
    const numMore = more === false ? 0 : Math.max(0, max - first.length);
    if (min > first.length + numMore) throw new SchemaError(`minItems at ${at}`);
    // What no value fits ends the array before it; these are all written, or none is.
    if (numMore === 0 && first.length === 0) return `"[" ws "]"`;
    const item = numMore === 0 ? `""` : this.#rule(this.#schema(more, `${at}/items`));
    if (first.length === 0) return list("[", item, "]", min, max);
    const least = Math.max(0, min - first.length);
    const others = numMore === 0 ? "" : ` (ws "," ws ${item})${times(least, numMore)}`;
    return `"[" ws ${first.join(` ws "," ws `)}${others} ws "]"`;
  }

  #string(keywords: Keywords, at: string): string {
    const { minLength, maxLength, pattern, format } = keywords;
    if (pattern !== undefined) {
      if (minLength !== undefined) throw new SchemaError(`minLength beside pattern at ${at}`);
      if (maxLength !== undefined) throw new SchemaError(`maxLength beside pattern at ${at}`);
      return this.#inQuotes(this.#pattern(jsonPattern(String(pattern), at)));
    }
    const known = typeof format === "string" && Object.hasOwn(STRING_FORMATS, format);
    if (minLength !== undefined || maxLength !== undefined) {
      if (known) throw new SchemaError(`minLength or maxLength beside format at ${at}`);
      const [min, max] = [Math.ceil(Number(minLength ?? 0)), Number(maxLength ?? Infinity)];
      if (max === Infinity) return this.#rule(`"\\"" ${characters(min, min)} chars`);
      return this.#inQuotes(characters(min, max));
    }
    return known ? this.#inQuotes(this.#pattern(STRING_FORMATS[format]!)) : "string";
  }

  #inQuotes(text: string): string {
    return this.#rule(`"\\"" ${text} "\\""`);
  }

  #number(type: "number" | "integer", keywords: Keywords, at: string): string {
    const names = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] as const;
    const bounds: NumberBounds = Object.fromEntries(
      names.filter((name) => keywords[name] !== undefined)
        .map((name) => [name, Number(keywords[name])]),
    );
    const [name] = Object.keys(bounds);
    if (name === undefined) return type;
    const pattern = attempt(() => numberPattern(type, bounds), `${name} at ${at}`);
    if (pattern === undefined) throw new SchemaError(`${name} at ${at}, which no number fits`);
    return this.#pattern(pattern);
  }

  #reference(reference: string, at: string): string {
    const known = this.#ruleOfReference.get(reference);
    if (this.#bare.includes(reference)) throw new SchemaError(`$ref at ${at}, to itself`);
    if (known !== undefined) return known;
    const rule = `r${this.#rules.size}`;
    this.#rules.set(rule, "");
    this.#ruleOfReference.set(reference, rule);
    this.#bare = [...this.#bare, reference];
    this.#rules.set(rule, this.#schema(this.#reader.resolve(reference, at), reference));
    this.#bare = this.#bare.slice(0, -1);
    return rule;
  }

  #pattern(regex: string): string {
    for (const [name, known] of this.#patterns) if (known === regex) return name;
    const name = `p${this.#patterns.size}`;
    this.#patterns.set(name, regex);
    return name;
  }

  #rule(expression: string): string {
    if (/^\w+$/.test(expression)) return expression;
    const name = `r${this.#rules.size}`;
    this.#rules.set(name, expression);
    return name;
  }
}

/** Items with commas between them, in brackets. */
function list(open: string, item: string, close: string, min: number, max: number): string {
  const more = `(ws "," ws ${item})${times(Math.max(0, min - 1), max - 1)}`;
  if (max < 1) return `"${open}" ws "${close}"`;
  const some = `${item} ${max === 1 ? "" : more} ws`;
  return `"${open}" ws ${min > 0 ? some : `(${some})?`} "${close}"`;
}

function alternatives(expressions: readonly string[]): string {
  return expressions.length === 1 ? expressions[0]! : `(${expressions.join(" | ")})`;
}

/** A text as EBNF writes it; JSON's escapes are its own. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function jsonPattern(pattern: string, at: string): string {
  try {
    return patternInJson(pattern);
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    throw new SchemaError(`pattern at ${at}: ${error.message}`);
  }
}

function attempt<T>(make: () => T, what: string): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new SchemaError(`${what}: ${error.message} needs an exponent`);
  }
}
