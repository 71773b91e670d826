import { InvariantError } from "../base/invariant.ts";

/** Loop turns and calls between two checks: some hundred microseconds of work. */
export const UNITS_PER_CHECK = 1 << 18;

/** The export that holds the units left until the next check. */
export const UNITS_EXPORT = "quire_units";

const SECTION = { import: 2, global: 6, export: 7, code: 10 } as const;
const [I32, MUTABLE, GLOBAL, EMPTY_BLOCK] = [0x7f, 0x01, 0x03, 0x40];
const OP = {
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  end: 0x0b,
  brTable: 0x0e,
  call: 0x10,
  drop: 0x1a,
  selectTyped: 0x1c,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Const: 0x41,
  f32Const: 0x43,
  f64Const: 0x44,
  i32Eqz: 0x45,
  i32Sub: 0x6b,
  more: 0xfc,
} as const;

/** Reads a module's bytes one after the other. */
class Reader {
  at = 0;

  constructor(readonly bytes: Uint8Array) {}

  byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new InvariantError("a WebAssembly module ends too early");
    return byte;
  }

  /** An unsigned LEB128 number below 2^32. */
  unsigned(): number {
    let value = 0;
    for (let shift = 0;; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  /** Passes over `count` LEB128 numbers of any sign. */
  skip(count: number): void {
    for (let i = 0; i < count; i++) while (this.byte() >= 0x80);
  }

  take(numBytes: number): Uint8Array {
    this.at += numBytes;
    return this.bytes.subarray(this.at - numBytes, this.at);
  }
}

/**
 * A WebAssembly module that calls one of its imports after every {@link UNITS_PER_CHECK} turns of
 * loops and calls of functions, so that the import can stop it by throwing.
 *
 * Nothing else stops a module: `Worker.terminate` leaves a busy loop running (Deno 2.9.6), and each
 * would cost a core for good. The method is that of metered virtual machines, where every loop
 * header and function entry pays from a counter (Ethereum's gas, Wood 2014, Yellow Paper).
 *
 * @param check index of an imported function `() -> i32` that the module has; its result is
 * dropped.
 * @throws {InvariantError} for instructions beyond WebAssembly 2.0 without vectors.
 */
export function meterWasm(module: Uint8Array, check: number): Uint8Array<ArrayBuffer> {
  const reader = new Reader(module);
  const parts: Uint8Array[] = [reader.take(8)];
  let counter = -1;
  while (reader.at < module.length) {
    const id = reader.byte();
    const body = new Reader(reader.take(reader.unsigned()));
    if (id === SECTION.global) counter = new Reader(body.bytes).unsigned();
    parts.push(section(id, sectionBody(id, body, { counter, check })));
  }
  return join(parts);
}

/** The index of an imported function by its name. */
export function importIndex(module: WebAssembly.Module, name: string): number {
  const functions = WebAssembly.Module.imports(module).filter(({ kind }) => kind === "function");
  return functions.findIndex((one) => one.name === name);
}

interface Meter {
  readonly counter: number;
  readonly check: number;
}

function sectionBody(id: number, body: Reader, meter: Meter): Uint8Array {
  if (id === SECTION.global) {
    const start = [OP.i32Const, ...signed(UNITS_PER_CHECK), OP.end];
    return withOneMore(body, Uint8Array.of(I32, MUTABLE, ...start));
  }
  if (id === SECTION.export) {
    const name = new TextEncoder().encode(UNITS_EXPORT);
    const entry = [...unsigned(name.length), ...name, GLOBAL, ...unsigned(meter.counter)];
    return withOneMore(body, Uint8Array.from(entry));
  }
  return id === SECTION.code ? meteredCode(body, meter) : body.bytes;
}

/** A vector section with one more entry at its end. */
function withOneMore(body: Reader, entry: Uint8Array): Uint8Array {
  const count = body.unsigned();
  return join([unsigned(count + 1), body.bytes.subarray(body.at), entry]);
}

function meteredCode(body: Reader, meter: Meter): Uint8Array {
  if (meter.counter === -1) throw new InvariantError("a WebAssembly module without globals");
  const payment = paymentOf(meter);
  const count = body.unsigned();
  const parts: Uint8Array[] = [unsigned(count)];
  for (let i = 0; i < count; i++) {
    const code = meteredFunction(new Reader(body.take(body.unsigned())), payment);
    parts.push(unsigned(code.length), code);
  }
  return join(parts);
}

/** Counts one unit, and calls the check when none is left. */
function paymentOf({ counter, check }: Meter): Uint8Array {
  const global = unsigned(counter);
  return Uint8Array.from([
    ...[OP.globalGet, ...global, OP.i32Const, 1, OP.i32Sub, OP.globalSet, ...global],
    ...[OP.globalGet, ...global, OP.i32Eqz, OP.if, EMPTY_BLOCK],
    ...[OP.call, ...unsigned(check), OP.drop, OP.end],
  ]);
}

function meteredFunction(code: Reader, payment: Uint8Array): Uint8Array {
  const numLocals = code.unsigned();
  for (let i = 0; i < numLocals; i++) code.skip(2);
  const parts: Uint8Array[] = [code.bytes.subarray(0, code.at), payment];
  let copied = code.at;
  while (code.at < code.bytes.length) {
    if (skipInstruction(code) !== OP.loop) continue;
    parts.push(code.bytes.subarray(copied, code.at), payment);
    copied = code.at;
  }
  parts.push(code.bytes.subarray(copied));
  return join(parts);
}

/** Passes over one instruction and returns its first byte. */
function skipInstruction(code: Reader): number {
  const op = code.byte();
  if (op === OP.brTable) code.skip(code.unsigned() + 1);
  else if (op === OP.selectTyped) code.skip(code.unsigned());
  else if (op === OP.f32Const) code.take(4);
  else if (op === OP.f64Const) code.take(8);
  else if (op === OP.more) code.skip(numOperandsOfMore(code.unsigned()));
  else code.skip(numOperands(op));
  return op;
}

/** How many LEB128 numbers follow an instruction; block types are such numbers as well. */
function numOperands(op: number): number {
  if (op >= OP.block && op <= OP.if) return 1;
  if (op === 0x0c || op === 0x0d || op === OP.call || op === 0xd0 || op === 0xd2) return 1;
  if (op === 0x11) return 2;
  if (op >= 0x20 && op <= 0x26) return 1;
  if (op >= 0x28 && op <= 0x3e) return 2;
  if (op >= 0x3f && op <= 0x42) return 1;
  const isPlain = op <= 0x01 || op === 0x05 || op === OP.end || op === 0x0f || op === OP.drop ||
    op === 0x1b || (op >= OP.i32Eqz && op <= 0xc4) || op === 0xd1;
  if (!isPlain) throw new InvariantError(`the WebAssembly instruction 0x${op.toString(16)}`);
  return 0;
}

/** Saturating conversions, and bulk operations on memories and tables. */
function numOperandsOfMore(op: number): number {
  const operands = [0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1][op];
  if (operands === undefined) throw new InvariantError(`the WebAssembly instruction 0xfc ${op}`);
  return operands;
}

function section(id: number, body: Uint8Array): Uint8Array {
  return join([Uint8Array.of(id), unsigned(body.length), body]);
}

function unsigned(value: number): Uint8Array {
  const bytes: number[] = [];
  do {
    bytes.push(value & 0x7f | (value > 0x7f ? 0x80 : 0));
    value >>>= 7;
  } while (value > 0);
  return Uint8Array.from(bytes);
}

/** A positive number as signed LEB128. */
function signed(value: number): number[] {
  const bytes = [...unsigned(value)];
  const last = bytes.at(-1)!;
  return (last & 0x40) === 0 ? bytes : [...bytes.slice(0, -1), last | 0x80, 0];
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
