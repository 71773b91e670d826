import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { reportText } from "../../src/commands/doctor_command.ts";
import { diagnose, type Finding } from "../../src/commands/diagnosis.ts";
import type { FoundDevice, Machine } from "../../src/commands/machine.ts";
import { parseDoctorConfig } from "../../src/core/doctor_config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { createStyle } from "../../src/terminal/style.ts";

const GPU: FoundDevice = {
  kind: "webgpu",
  description: "A GPU, WebGPU",
  features: "subgroups of 32, f16",
  tier: "subgroups",
  maxBindingBytes: 2 ** 31,
};
const CPU: FoundDevice = { ...GPU, kind: "cpu", description: "reference device" };

/** A machine that lacks nothing, but for what is changed. */
function machine(changes: Partial<Machine> = {}): Machine {
  return {
    denoVersion: "2.9.6",
    os: "linux",
    arch: "x86_64",
    numCores: 8,
    env: { HOME: "/home/me" },
    isGranted: () => true,
    device: () => Promise.resolve(GPU),
    memory: () => ({ total: 2 ** 34, available: 2 ** 33 }),
    freeBytes: () => 2 ** 35,
    names: () => undefined,
    canOpen: () => true,
    models: () => ({ numModels: 2, numBytes: 2 ** 30 }),
    whyNotFree: () => undefined,
    ...changes,
  };
}

async function findings(changes: Partial<Machine> = {}, args: string[] = []): Promise<Finding[]> {
  return await diagnose(parseDoctorConfig(args, {})!, machine(changes));
}

/** The findings that are not fine. */
async function troubles(changes: Partial<Machine>, args: string[] = []): Promise<Finding[]> {
  return (await findings(changes, args)).filter(({ state }) => state !== "ok");
}

Deno.test("diagnose() finds nothing to say of a machine that has everything", async () => {
  assertEquals(await troubles({}), []);
  const text = reportText(await findings(), true, createStyle(false));
  for (
    const words of [
      "A GPU, WebGPU",
      "tier subgroups; subgroups of 32, f16; buffers of at most 2 GiB",
      "8 GiB of 16 GiB available",
      "127.0.0.1:8000 is free",
      "/home/me/.local/state/quire: nothing yet",
      "2 revisions, 1 GiB in /home/me/.cache/huggingface/hub, 32 GiB free",
      "with everything it can use",
    ]
  ) assertStringIncludes(text, words);
});

Deno.test("diagnose() says how to get a driver, and why one that is there is not used", async () => {
  const device = () => Promise.resolve(CPU);
  const [none] = await troubles({ device });
  assertEquals(none!.state, "note");
  assertStringIncludes(none!.remedy!, "apt-get install mesa-vulkan-drivers");
  const names = (folder: string) => folder.endsWith("dri") ? ["card0", "renderD128"] : [];
  const [blocked] = await troubles({ device, names, canOpen: () => false });
  assertStringIncludes(
    blocked!.text,
    "/dev/dri/renderD128 is there, but this user may not open it",
  );
  assertStringIncludes(blocked!.remedy!, "usermod -aG render");
  const [installed] = await troubles({ device, names: () => ["lvp_icd.json"] });
  assertStringIncludes(installed!.text, "Vulkan drivers are installed (lvp_icd.json");
  const refuse = () => Promise.reject(new StartupError("--gpu-backend dawn: no"));
  const [refused] = await troubles({ device: refuse }, ["--gpu-backend", "dawn"]);
  assertEquals([refused!.state, refused!.text], ["missing", "--gpu-backend dawn: no"]);
});

Deno.test("diagnose() names the flag of every permission that is missing, and what it costs", async () => {
  const denied = (...names: string[]): Partial<Machine> => ({
    isGranted: ({ name }) => !names.includes(name),
  });
  const [net] = await troubles(denied("net"));
  assertEquals([net!.state, net!.text], ["missing", "Quire may not listen"]);
  assertEquals(net!.remedy, "--allow-net=127.0.0.1:8000");
  const read = await troubles(denied("read"));
  assertEquals(read.map(({ state }) => state), ["missing", "note", "note"]);
  assertStringIncludes(read[1]!.remedy!, "--allow-read=/home/me/.local/state/quire");
  const write = await troubles(denied("write"));
  assertEquals(write.map(({ text }) => text), [
    "nothing is remembered over a restart",
    "models are not served by name",
  ]);
  const [env] = await troubles(denied("env"));
  assertStringIncludes(env!.remedy!, "--allow-env=QUIRE_*");
});

Deno.test("diagnose() sees an address in use, little memory, another Deno and no home", async () => {
  const [busy] = await troubles({ whyNotFree: () => "another program listens there" });
  assertEquals([busy!.state, busy!.text], [
    "missing",
    "127.0.0.1:8000: another program listens there",
  ]);
  const [little] = await troubles({ memory: () => ({ total: 2 ** 32, available: 2 ** 28 }) });
  assertStringIncludes(little!.remedy!, "--kv-cache-memory-bytes");
  const [unknown] = await troubles({ memory: () => undefined });
  assertStringIncludes(unknown!.remedy!, "--allow-sys=systemMemoryInfo");
  const [deno] = await troubles({ denoVersion: "3.0.0" });
  assertEquals([deno!.area, deno!.state], ["Deno", "missing"]);
  const homeless = await troubles({ env: {} });
  assertEquals(homeless.map(({ area }) => area), ["Files", "Models"]);
});

Deno.test("reportText() puts the way to get a thing below it, and ends with what follows", () => {
  const found: Finding[] = [
    { area: "Deno", state: "ok", text: "2.9.6" },
    { area: "Address", state: "missing", text: "taken", remedy: "take another" },
  ];
  assertEquals(reportText(found, false, createStyle(false)).split("\n"), [
    "ok  Deno     2.9.6",
    "!!  Address  taken",
    "             -> take another",
    "",
    "quire serve cannot start here: see the lines with !!",
  ]);
  assert(reportText(found, false, createStyle(true)).includes("\x1b[31m"));
});
