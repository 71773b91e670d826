import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { loadGenerationConfig } from "../../../models/generation_config.ts";
import { readModel } from "../../../models/registry.ts";
import { StartupError } from "../../../src/core/errors.ts";
import { ReferenceDevice } from "../../../src/device/reference_device.ts";
import { uploadWeights } from "../../../src/runner/upload_weights.ts";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.ts";
import { findModelSource } from "../../../src/weights/model_source.ts";
import { ggufFile } from "../../support/gguf_writer.ts";
import { mutate, mutationsAt } from "../../support/mutations.ts";
import { runs, times } from "../../support/runs.ts";
import { SMALL_METADATA, smallGguf, smallVocabulary } from "./small_gguf.ts";

/** Memory of this isolate that a load of a file of 100 kB may add to, garbage included. */
const MAX_GROWTH_BYTES = 2 ** 29;

/** Places of a file: most of it is data, in which most changes are numbers like others. */
function placesOf(size: number, headerSize: number): fc.Arbitrary<number> {
  return fc.oneof(
    { weight: 3, arbitrary: fc.nat(Math.min(2000, headerSize)) },
    { weight: 4, arbitrary: fc.integer({ min: headerSize - 2500, max: headerSize }) },
    { weight: 1, arbitrary: fc.nat(size - 9) },
  );
}

/** Loads all that a server loads; returns whether the file was taken. */
async function load(path: string): Promise<boolean> {
  try {
    const source = findModelSource(path);
    const files = source.textFiles();
    const model = readModel(files);
    loadGenerationConfig(files);
    loadTokenizer(files);
    const weights = source.openCheckpoint();
    try {
      await uploadWeights(
        new ReferenceDevice(),
        weights,
        model.weights,
      );
    } finally {
      weights.close();
    }
    return true;
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    assert(error.message.includes(path), error.message);
    return false;
  }
}

Deno.test("a GGUF file with random changes loads, or is refused in a sentence that names it", async () => {
  const file = smallGguf();
  const headerSize = ggufFile({ ...SMALL_METADATA, ...smallVocabulary() }, {}).byteLength + 700;
  const dir = await Deno.makeTempDir();
  const path = `${dir}/mutated.gguf`;
  const before = usedBytes();
  let [numTaken, numRefused, grown] = [0, 0, 0];
  try {
    await Deno.writeFile(path, file);
    assert(await load(path), "the file itself is refused");
    await fc.assert(
      fc.asyncProperty(
        mutationsAt(placesOf(file.byteLength, headerSize)),
        async (list) => {
          await Deno.writeFile(path, mutate(file, list));
          if (await load(path)) numTaken++;
          else numRefused++;
          grown = Math.max(grown, usedBytes() - before);
        },
      ),
      { numRuns: runs(2000), seed: 12 },
    );
    assertEquals(openFiles(path), 0, "files stay open");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  assert(numTaken > times(100) && numRefused > times(500), `${numTaken} taken, ${numRefused} not`);
  assert(grown < MAX_GROWTH_BYTES, `the isolate grew by ${grown} bytes`);
});

/** Bytes that this isolate holds; other files' tests may run in the same process. */
function usedBytes(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** How often this process has the file at `path` open, where the system tells. */
function openFiles(path: string): number {
  try {
    const links = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => linkOf(name));
    return links.filter((link) => link.startsWith(path)).length;
  } catch {
    return 0;
  }
}

/** What a descriptor is of; nothing when it has been closed meanwhile. */
function linkOf(descriptor: string): string {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return "";
  }
}
