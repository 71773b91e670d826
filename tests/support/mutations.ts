import fc from "fast-check";

/** A change to a file's bytes. */
export type Mutation =
  | { readonly type: "byte"; readonly at: number; readonly value: number }
  | { readonly type: "word"; readonly at: number; readonly value: bigint }
  | { readonly type: "cut"; readonly at: number }
  | { readonly type: "remove"; readonly at: number; readonly length: number }
  | { readonly type: "repeat"; readonly at: number; readonly length: number };

/** Lengths, counts and offsets that are likely to be taken wrongly. */
const EXTREMES = [
  ...[0n, 1n, 2n, 31n, 32n, 255n, 256n, 2n ** 16n, 2n ** 20n, 2n ** 31n - 1n, 2n ** 31n],
  ...[2n ** 32n - 1n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
];

/** One to three changes at places that `at` draws. */
export function mutationsAt(at: fc.Arbitrary<number>): fc.Arbitrary<Mutation[]> {
  const length = fc.integer({ min: 1, max: 64 });
  const one = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ type: fc.constant("byte" as const), at, value: fc.nat(255) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        type: fc.constant("word" as const),
        at,
        value: fc.constantFrom(...EXTREMES),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant("cut" as const), at }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant("remove" as const), at, length }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant("repeat" as const), at, length }) },
  );
  return fc.array(one, { minLength: 1, maxLength: 3 });
}

/** The file with all changes made, one after the other. */
export function mutate(file: Uint8Array, list: readonly Mutation[]): Uint8Array<ArrayBuffer> {
  let bytes = file.slice();
  for (const mutation of list) {
    const at = Math.min(mutation.at, Math.max(0, bytes.byteLength - 9));
    if (bytes.byteLength < 9) break;
    if (mutation.type === "byte") bytes[at] = mutation.value;
    else if (mutation.type === "word") {
      new DataView(bytes.buffer).setBigUint64(at, mutation.value, true);
    } else {
      const head = bytes.subarray(0, at);
      const rest = mutation.type === "cut"
        ? new Uint8Array()
        : mutation.type === "remove"
        ? bytes.subarray(at + mutation.length)
        : bytes.subarray(Math.max(0, at - mutation.length));
      const changed = new Uint8Array(head.byteLength + rest.byteLength);
      changed.set(head);
      changed.set(rest, head.byteLength);
      bytes = changed;
    }
  }
  return bytes;
}

/** Values that stand where another kind, or a number within bounds, is expected. */
const VALUES: readonly unknown[] = [
  ...[null, true, false, 0, 1, -1, 0.5, 2, 7, 64, 4096, 2 ** 20, 2 ** 31, 2 ** 53, 1e308, 1e-308],
  ...["", "a", "gelu", "Infinity", "\u{1f98a}", "\0", "(", "x".repeat(5000)],
  ...[[], {}, [[]], [null], [1, 2, 3], { type: "x" }, [{}], { a: { b: [] } }],
];

/** A change to one value of a JSON text; numbers choose a path and what comes there. */
interface JsonMutation {
  /** Chooses a child at each level. */
  readonly steps: readonly number[];
  readonly type: "replace" | "remove" | "rename" | "repeat";
  readonly pick: number;
}

/**
 * A JSON text with one to three changes to its values, or in some cases to its bytes. Children are
 * chosen level by level, so that a large vocabulary draws no more than any other part.
 */
export function mutatedJson(text: string): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const bytes = new TextEncoder().encode(text);
  const one: fc.Arbitrary<JsonMutation> = fc.record({
    steps: fc.array(fc.nat(999), { minLength: 1, maxLength: 6 }),
    type: fc.oneof(
      { weight: 4, arbitrary: fc.constant("replace" as const) },
      { weight: 1, arbitrary: fc.constantFrom("remove", "rename", "repeat") },
    ),
    pick: fc.nat(999),
  });
  const values = fc.array(one, { minLength: 1, maxLength: 3 }).map((list) => {
    const root: unknown[] = [JSON.parse(text)];
    for (const mutation of list) mutateValue(root, mutation);
    return new TextEncoder().encode(JSON.stringify(root[0]));
  });
  const raw = mutationsAt(fc.nat(bytes.byteLength)).map((list) => mutate(bytes, list));
  return fc.oneof({ weight: 6, arbitrary: values }, { weight: 1, arbitrary: raw });
}

type Container = Record<string, unknown> | unknown[];

function mutateValue(root: unknown[], { steps, type, pick }: JsonMutation): void {
  let [parent, key]: [Container, string] = [root, "0"];
  for (const step of steps) {
    const value: unknown = (parent as Record<string, unknown>)[key];
    if (typeof value !== "object" || value === null) break;
    const keys = Object.keys(value);
    if (keys.length === 0) break;
    [parent, key] = [value as Container, keys[step % keys.length]!];
  }
  const fields = parent as Record<string, unknown>;
  const value = fields[key];
  if (type === "replace") fields[key] = structuredClone(VALUES[pick % VALUES.length]);
  else if (Array.isArray(parent)) {
    parent.splice(Number(key), 1, ...(type === "repeat" ? [value, structuredClone(value)] : []));
  } else {
    if (type === "repeat") fields[`${key}_`] = value;
    else delete fields[key];
    if (type === "rename") fields[key.slice(0, -1)] = value;
  }
}
