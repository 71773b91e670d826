import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { StartupError } from "../../src/core/errors.ts";
import { parseModelReference } from "../../src/hub/model_reference.ts";
import { pullModel } from "../../src/hub/pull_model.ts";
import { HubRig, pattern, tinyRepo } from "../support/fake_hub.ts";
import { runs, times } from "../support/runs.ts";

/** What a hostile or broken server may put in place of any value. */
const HOSTILE = fc.oneof(
  fc.constantFrom<unknown>(
    "../../../etc/passwd",
    "..",
    "/models/x",
    "model.safetensors",
    "config.json",
    "",
    "a\0b",
    "\x1b[2J",
    "f".repeat(40),
    "f".repeat(64),
    "__proto__",
    -1,
    1e308,
    2 ** 53,
    0,
    null,
    [],
    {},
    true,
  ),
  fc.string({ maxLength: 20 }),
);

/** Replaces the value that the `at`-th visit of a walk through `json` meets. */
function replaceAt(json: unknown, at: number, by: unknown): unknown {
  let left = at;
  const walk = (value: unknown): unknown => {
    if (left-- === 0) return by;
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, walk(part)]));
  };
  return walk(json);
}

/** Names below a folder, with folders' own. */
function everythingBelow(dir: string): string[] {
  return [...Deno.readDirSync(dir)].flatMap(({ name, isDirectory }) => [
    `${dir}/${name}`,
    ...isDirectory ? everythingBelow(`${dir}/${name}`) : [],
  ]);
}

Deno.test("whatever a server answers, a pull is right or refused, and stays in its cache", async () => {
  let numRight = 0;
  let numRefused = 0;
  const { "model.safetensors": weights, ...rest } = tinyRepo(pattern(300));
  const index = { weight_map: { a: "a.safetensors", b: "b.safetensors" } };
  const shards = { "a.safetensors": weights!, "b.safetensors": pattern(200, 2) };
  const visits = fc.record({
    where: fc.constantFrom("/revision/", "/tree/", "index"),
    at: fc.nat({ max: 60 }),
    by: HOSTILE,
  });
  await using rig = await HubRig.start();
  await fc.assert(
    fc.asyncProperty(visits, async ({ where, at, by }) => {
      const cacheDir = `${rig.home}/${numRight + numRefused}`;
      const text = where === "index" ? replaceAt(index, at % 4, by) : index;
      rig.hub.commit("acme/tiny", {
        ...rest,
        ...shards,
        "model.safetensors.index.json": JSON.stringify(text) ?? "",
      });
      rig.hub.alter = (path, json) => path.includes(where) ? replaceAt(json, at, by) : json;
      try {
        const { dir } = await pullModel(rig.client({ cacheDir }), parseModelReference("acme/tiny"));
        for (const [name, data] of Object.entries(shards)) {
          const isAsked = JSON.stringify(text).includes(name);
          if (isAsked) assertEquals(await Deno.readFile(`${dir}/${name}`), data);
        }
        numRight++;
      } catch (error) {
        if (!(error instanceof StartupError)) throw error;
        assert(!/[\p{Cc}]/u.test(error.message), JSON.stringify(error.message));
        numRefused++;
      }
      const mayBe = new RegExp(`^${cacheDir}(/models--acme--tiny|/\\.locks)?($|/)`);
      assertEquals(everythingBelow(rig.home).filter((path) => !mayBe.test(path)), []);
      await Deno.remove(cacheDir, { recursive: true });
    }),
    { numRuns: runs(60), seed: 11 },
  );
  assert(
    numRight >= times(5) && numRefused >= times(10),
    `${numRight} right, ${numRefused} refused`,
  );
});
