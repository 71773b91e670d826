/** Writes checkpoints, whole and broken ones, for the tests of this room. */

/** A tensor as its header says it, and its bytes. */
export interface TensorFixture {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A safetensors file with the tensors one after the other. */
export function safetensorsFile(tensors: Record<string, TensorFixture>): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.byteLength] };
    offset += bytes.byteLength;
    data.push(bytes);
  }
  return rawFile(header, concat(data));
}

/** A file with any header, right or wrong, before `data`. */
export function rawFile(header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array {
  const json = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(json.byteLength), true);
  return concat([prefix, json, data]);
}

/** Runs `body` with a new directory holding `files`, and removes it. */
export function withModelDir(
  files: Record<string, Uint8Array | string>,
  body: (dir: string) => void,
): void {
  const dir = Deno.makeTempDirSync({ prefix: "quire-weights-" });
  try {
    for (const [name, content] of Object.entries(files)) {
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      Deno.writeFileSync(`${dir}/${name}`, bytes);
    }
    body(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.byteLength;
  }
  return whole;
}
