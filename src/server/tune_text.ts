import { DEFAULT_VARIANT } from "../../kernels/tuning/tuning_variants.ts";
import type { MeasuredTuning } from "../runner/measure_tuning.ts";
import type { TunedOperation } from "../state/tuning_store.ts";

/**
 * What `quire tune` prints for people: every variant of every operation, the chosen ones marked.
 */
export function tuneText(
  { device, operations, blockSizes }: MeasuredTuning,
  { modelName, blockSize, storePath }: {
    modelName: string;
    /** The block size in use. */
    blockSize: number;
    /** File that keeps the times; undefined for none. */
    storePath: string | undefined;
  },
): string {
  const { context, micros, best } = blockSizes;
  const size = best === blockSize
    ? `Blocks of ${blockSize} tokens are as good as any here.`
    : `Blocks of ${best} tokens would be faster than those of ${blockSize}: --block-size ${best}`;
  return [
    `Device   ${device}`,
    `Model    ${modelName}`,
    `Kept in  ${storePath ?? "no file"}`,
    "",
    "Microseconds in one layer; * is used, the factor is the gain over the default.",
    ...operations.flatMap((record) => ["", record.operation, ...variantLines(record)]),
    "",
    `decode attention at ${context} tokens, by block size`,
    ...Object.entries(micros).map(([name, value]) => line(name, value, Number(name) === best)),
    size,
  ].join("\n");
}

function variantLines({ variant, micros }: TunedOperation): string[] {
  const base = micros[DEFAULT_VARIANT]!;
  return Object.entries(micros).map(([name, value]) =>
    `${line(name, value, name === variant)}${gainOver(base, value).padStart(9)}`
  );
}

/** Speed relative to the default. */
function gainOver(base: number, micros: number): string {
  return `${(base / micros).toFixed(2)}x`;
}

function line(name: string, micros: number, isUsed: boolean): string {
  return `  ${isUsed ? "*" : " "} ${name.padEnd(34)}${micros.toFixed(1).padStart(11)}`;
}

/** What `quire tune --json` prints. */
export function tuneJson({ device, operations, blockSizes }: MeasuredTuning): unknown {
  return {
    device,
    operations: operations.map(({ operation, variant, micros }) => ({
      operation,
      variant,
      micros,
      gain: micros[DEFAULT_VARIANT]! / micros[variant]!,
    })),
    block_sizes: blockSizes,
  };
}
