import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { tuningFor } from "../../kernels/tuning/tuning.ts";
import { tuningDigest } from "../../kernels/tuning/tuning_digest.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { AUTOTUNE_LIMIT_MS, chooseTuning, mayTune } from "../../src/runner/choose_tuning.ts";
import { allocateMemory } from "../../src/runner/runner_memory.ts";
import { tuningIdentity } from "../../src/runner/tuning_file.ts";
import { TuningStore } from "../../src/state/tuning_store.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { logLines } from "../support/log_lines.ts";
import { TimedDevice, type TimedDeviceOptions, timedInputs } from "../support/timed_device.ts";

function withFile(test: (path: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const dir = await Deno.makeTempDir();
    try {
      await test(`${dir}/tuning.sqlite3`);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  };
}

/** A start on a device whose longest splits are the fastest, unless said otherwise. */
async function start(
  overrides: Partial<EngineConfig>,
  options: TimedDeviceOptions & { readonly description?: string } = {},
) {
  const device = new TimedDevice({
    cost: ({ constants }) => constants.SPLIT_LEN === 256 ? 0.5 : 1,
    ...options,
  });
  if (options.description !== undefined) {
    Object.assign(device, { description: options.description });
  }
  const inputs = timedInputs(device, overrides);
  const memory = await allocateMemory(inputs);
  const { log, lines } = logLines();
  const progress: string[] = [];
  const tuning = await chooseTuning({
    ...{ inputs, memory, log, now: () => device.clock.now() },
    progress: (words) => progress.push(words),
  });
  const messages = lines.map(({ message }) => String(message));
  return { tuning, device, messages, lines, progress };
}

const isTuned = ({ tuning }: { tuning: { splitLen: number } }) => tuning.splitLen === 256;
const hasTimed = ({ device }: { device: TimedDevice }) => device.runs.length > 0;

Deno.test("chooseTuning() times kernels on a GPU, on others only when told to, and never when told not to", async () => {
  for (
    const [isSoftware, autotune, expected] of [
      [false, undefined, true],
      [false, "auto", true],
      [false, "on", true],
      [false, "off", false],
      [true, undefined, false],
      [true, "auto", false],
      [true, "off", false],
      [true, "on", true],
    ] as const
  ) {
    const outcome = await start(autotune === undefined ? {} : { autotune }, { isSoftware });
    assertEquals(hasTimed(outcome), expected, `${isSoftware} ${autotune}`);
    if (!expected) assertEquals(outcome.tuning, tuningFor(outcome.device.capabilities));
  }
});

Deno.test(
  "mayTune() is false where a start is as it was: no times, and none to be taken",
  withFile(async (path) => {
    const software = new TimedDevice({ isSoftware: true });
    const { config } = timedInputs(software, { tuningStore: path });
    assertEquals(mayTune(software, config), false);
    assertEquals(mayTune(new TimedDevice(), config), true);
    assertEquals(mayTune(new TimedDevice(), { ...config, autotune: "off" }), false);
    await Deno.writeFile(path, new Uint8Array());
    assertEquals(mayTune(software, config), true);
    assertEquals(mayTune(software, { ...config, isDeterministic: true }), false);
    assertEquals(mayTune(new ReferenceDevice(), { ...config, autotune: "on" }), false);
  }),
);

Deno.test(
  "chooseTuning() keeps its times for later starts, whatever --autotune is there",
  withFile(async (path) => {
    const first = await start({ tuningStore: path });
    assert(isTuned(first) && hasTimed(first));
    assertStringIncludes(first.progress.at(-1)!, "for 20 s at most");
    assertEquals(first.messages, ["kernels are tuned"]);
    for (const autotune of ["auto", "on", "off"] as const) {
      const later = await start({ tuningStore: path, autotune });
      assertEquals([isTuned(later), hasTimed(later), later.messages], [true, false, []]);
    }
  }),
);

Deno.test("tuningIdentity() names the device, its features and the state of the kernels", () => {
  const device = new TimedDevice();
  const { capabilities } = device;
  const { adapter, kernels } = tuningIdentity(device);
  assertEquals(kernels, tuningDigest("baseline", tuningFor(capabilities)));
  assertStringIncludes(adapter, "a clock with buffers: no optional features; Deno 2.");
});

Deno.test(
  "chooseTuning() heeds no times of another adapter, tier or kernel",
  withFile(async (path) => {
    await start({ tuningStore: path });
    const known = [];
    for (
      const options of [{}, { description: "another" }, { isSoftware: true }]
    ) {
      const outcome = await start({ tuningStore: path, autotune: "off" }, options);
      known.push(isTuned(outcome));
    }
    assertEquals(known, [true, false, false]);
    const { adapter, kernels } = tuningIdentity(new TimedDevice());
    const { log } = logLines();
    const store = await TuningStore.open(path, { adapter, kernels }, log);
    const { operations } = store;
    store.close();
    await Deno.remove(path);
    const older = await TuningStore.open(path, { adapter, kernels: "of old" }, log);
    await older.write(operations);
    older.close();
    assertEquals(isTuned(await start({ tuningStore: path, autotune: "off" })), false);
  }),
);

Deno.test(
  "chooseTuning() spends a bounded time, and goes on at the next start",
  withFile(async (path) => {
    const cost = () => AUTOTUNE_LIMIT_MS / 100;
    let numKnown = 0;
    for (let i = 0; i < 3; i++) {
      const { device, lines } = await start({ tuningStore: path }, { cost });
      // An operation that was begun is finished.
      assert(device.clock.now() < 2 * AUTOTUNE_LIMIT_MS);
      const { timed, left, known } = lines[0]!;
      assert(Number(timed) > 0 && Number(left) > 0, `${timed} timed, ${left} left`);
      assertEquals(known, numKnown);
      numKnown += Number(timed);
    }
  }),
);

Deno.test(
  "chooseTuning() tunes without writing while another server has the store open",
  withFile(async (path) => {
    const { log } = logLines();
    const other = await TuningStore.open(path, { adapter: "a", kernels: "b" }, log);
    const outcome = await start({ tuningStore: path });
    other.close();
    assert(isTuned(outcome) && hasTimed(outcome));
    assertEquals(outcome.messages, [
      "tuning store is off, kernels are tuned without it",
      "kernels are tuned",
      "tuning store is off, these times are not kept",
    ]);
    assertStringIncludes(String(outcome.lines[0]!.reason), "Another server uses");
    assert(hasTimed(await start({ tuningStore: path })), "nothing was written");
  }),
);

Deno.test(
  "chooseTuning() sets a damaged store aside and starts another",
  withFile(async (path) => {
    await start({ tuningStore: path });
    const damaged = (await Deno.readFile(path)).fill(7, 4096);
    await Deno.writeFile(path, damaged);
    const outcome = await start({ tuningStore: path });
    assertEquals(outcome.messages, [
      "tuning store is damaged and not used",
      "kernels are tuned",
      "tuning store is damaged and not used",
      "tuning store is set aside",
    ]);
    assertEquals(await Deno.readFile(`${path}.damaged-1`), damaged);
    assertEquals(hasTimed(await start({ tuningStore: path })), false);
  }),
);

Deno.test(
  "chooseTuning() refuses a file that is no store of ours, untouched",
  withFile(async (path) => {
    await Deno.writeTextFile(path, "my notes\n");
    await assertRejects(() => start({ tuningStore: path }), StartupError, "is a text file");
    assertEquals(await Deno.readTextFile(path), "my notes\n");
  }),
);

Deno.test("chooseTuning() tunes without a store where it cannot make one", async () => {
  assert(isTuned(await start({})));
  const outcome = await start({ tuningStore: "/proc/none/tuning.sqlite3" });
  assert(isTuned(outcome));
  assertEquals(outcome.messages.length, 3);
});
