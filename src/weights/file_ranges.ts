import { StartupError } from "../core/errors.ts";

/** Most bytes asked of the file system at once. */
const MAX_READ_BYTES = 16 * 1024 * 1024;

/** An open file and its size when it was opened. */
export interface OpenFile {
  readonly path: string;
  readonly file: Deno.FsFile;
  readonly size: number;
}

/**
 * Opens a file of weights for reading.
 *
 * @throws {StartupError} when it cannot be opened or is not a regular file. It is closed then.
 */
export function openFile(path: string): OpenFile {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true });
  } catch (error) {
    throw new StartupError(`Cannot open weights file ${path}: ${(error as Error).message}`);
  }
  try {
    const { isFile, size } = file.statSync();
    if (!isFile) throw new StartupError(`${path} is not a regular file`);
    return { path, file, size };
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * Fills `into` from byte `offset` on, with reads of at most 16 MiB.
 *
 * @throws {StartupError} when the file ends before.
 */
export function readFully(
  { path, file }: Pick<OpenFile, "path" | "file">,
  offset: number,
  into: Uint8Array,
): void {
  file.seekSync(offset, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < into.byteLength) {
    const count = file.readSync(into.subarray(filled, filled + MAX_READ_BYTES));
    if (count === null) {
      throw new StartupError(`${path} ends at byte ${offset + filled}: it has been cut short`);
    }
    filled += count;
  }
}
