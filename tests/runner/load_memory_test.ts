import { assert } from "@std/assert";
import { NullDevice } from "../../bench/null_device.ts";
import type { WeightSpec } from "../../models/model.ts";
import { DEFAULT_QUANTIZATIONS, type Quantization } from "../../src/core/weight_format.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { uploadWeights } from "../../src/runner/upload_weights.ts";
import { openGgufCheckpoint } from "../../src/weights/gguf/gguf_checkpoint.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import { GGUF_TYPE, type GgufEntry, ggufHeader, ggufName } from "../support/gguf_writer.ts";
import { rawFile } from "../weights/checkpoint_files.ts";
import { SMALL_METADATA } from "../weights/gguf/small_gguf.ts";

const MIB = 2 ** 20;
/** Bytes of all tensors: held at once, they would be more than the limit. */
const TOTAL_BYTES = 320 * MIB;
const COLUMNS = 1024;
/** 1.5 times the largest tensor, and this. */
const LIMIT_BYTES = 256 * MIB;

/** A GPU with memory of its own, to which what is written goes; sees what this isolate holds. */
class SamplingDevice extends NullDevice {
  readonly #before = heldBytes();
  peakBytes = 0;
  writtenBytes = 0;

  constructor() {
    super(new ReferenceDevice().capabilities);
  }

  override write(...[, , data]: Parameters<Device["write"]>): void {
    this.writtenBytes += data.byteLength;
    this.peakBytes = Math.max(this.peakBytes, heldBytes() - this.#before);
  }
}

/** What this isolate holds, garbage included. */
function heldBytes(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** Files of zeros that take no room on the disk. */
interface Files {
  readonly tensorBytes: number;
  readonly write: (path: string, numTensors: number) => void;
  readonly open: (dir: string) => Checkpoint;
}

/** Names of a Llama's tensors, layer by layer. */
function nameOf(i: number): string {
  return `model.layers.${i}.mlp.gate_proj.weight`;
}

function sparse(path: string, header: Uint8Array, numBytes: number): void {
  Deno.writeFileSync(path, header);
  Deno.truncateSync(path, header.byteLength + numBytes);
}

const SAFETENSORS: Files = {
  tensorBytes: 4 * COLUMNS * COLUMNS,
  write(dir, numTensors) {
    const bytes = 4 * COLUMNS * COLUMNS;
    const header = Object.fromEntries(
      Array.from({ length: numTensors }, (_, i) => [nameOf(i), {
        ...{ dtype: "F32", shape: [COLUMNS, COLUMNS] },
        data_offsets: [i * bytes, (i + 1) * bytes],
      }]),
    );
    sparse(`${dir}/model.safetensors`, rawFile(header), numTensors * bytes);
  },
  open: openSafetensors,
};

const Q8_0: Files = {
  tensorBytes: COLUMNS * COLUMNS / 32 * 34,
  write(dir, numTensors) {
    const numBytes = COLUMNS * COLUMNS / 32 * 34;
    const entries = Array.from({ length: numTensors }, (_, i): GgufEntry => ({
      ...{ name: ggufName(nameOf(i)), shape: [COLUMNS, COLUMNS], type: GGUF_TYPE.Q8_0, numBytes },
    }));
    const header = ggufHeader(SMALL_METADATA, entries);
    sparse(`${dir}/model.gguf`, header, numTensors * numBytes + 64);
  },
  open: (dir) => openGgufCheckpoint(`${dir}/model.gguf`),
};

const CASES: readonly (readonly [name: string, files: Files, quantization?: Quantization])[] = [
  ["as stored", SAFETENSORS],
  ["quantized to int8", SAFETENSORS, DEFAULT_QUANTIZATIONS.int8],
  ["a GGUF file's blocks", Q8_0],
];

for (const [name, files, quantization] of CASES) {
  Deno.test(`weights are loaded in bounded memory: ${name}`, async () => {
    const dir = await Deno.makeTempDir();
    const { tensorBytes } = files;
    const numTensors = Math.ceil(TOTAL_BYTES / tensorBytes);
    try {
      files.write(dir, numTensors);
      const checkpoint = files.open(dir);
      const specs = Array.from({ length: numTensors }, (_, i): WeightSpec => ({
        ...{ name: `w${i}`, tensors: [nameOf(i)], shapes: [[COLUMNS, COLUMNS]] },
      }));
      const device = new SamplingDevice();
      const weights = await uploadWeights(
        device,
        checkpoint,
        specs,
        quantization === undefined ? {} : { quantization },
      );
      checkpoint.close();
      assert(device.writtenBytes === weights.bytes, `${device.writtenBytes} bytes are written`);
      const limit = 1.5 * tensorBytes + LIMIT_BYTES;
      assert(TOTAL_BYTES > limit && device.peakBytes < limit, `${device.peakBytes} of ${limit}`);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}
