import { formatByteSize } from "../base/byte_size.ts";
import type { DoctorConfig } from "../core/doctor_config.ts";
import { StartupError } from "../core/errors.ts";
import { TESTED_DENO_MAJOR, VERSION } from "../core/version.ts";
import { HUB_VARIABLES, type HubSettings, hubSettings } from "../hub/hub_settings.ts";
import { DRIVER_HINT } from "../runner/open_device.ts";
import { stateDirectory } from "../state/state_directory.ts";
import type { Machine } from "./machine.ts";
import { engineNeeds } from "./serve_permissions.ts";
import { listenHost, missingFlags, type Needs, netHost } from "./permissions.ts";

/** One thing that `quire doctor` has looked at. */
export interface Finding {
  readonly area: string;
  /** `ok`; `note`: Quire runs, with less; `missing`: `quire serve` cannot start. */
  readonly state: "ok" | "note" | "missing";
  readonly text: string;
  /** How to get what is missing: a sentence, often with a command. */
  readonly remedy?: string;
}

/** Less available memory than this makes even small models slow, bytes. */
const LITTLE_MEMORY = 2 ** 30;
/** Folders of the files by which Vulkan's loader finds drivers. */
const ICD_FOLDERS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
const RENDER_FOLDER = "/dev/dri";

/** Looks at a machine: everything `quire serve` needs or can use. */
export async function diagnose(
  config: DoctorConfig,
  machine: Machine,
): Promise<Finding[]> {
  return [
    ...programs(machine),
    ...await device(config, machine),
    ...memory(machine),
    ...permissions(config, machine),
    ...door(config, machine),
    ...files(config, machine),
    ...cache(machine),
  ];
}

function programs({ denoVersion, os, arch, numCores }: Machine): Finding[] {
  const isTested = Number(denoVersion.split(".")[0]) === TESTED_DENO_MAJOR;
  return [
    { area: "Quire", state: "ok", text: `${VERSION} on ${os} ${arch}, ${numCores} CPU threads` },
    {
      area: "Deno",
      state: isTested ? "ok" : "missing",
      text: denoVersion,
      ...(isTested ? {} : { remedy: `"npx deno@${TESTED_DENO_MAJOR}" runs the tested one` }),
    },
  ];
}

async function device({ gpuBackend }: DoctorConfig, machine: Machine): Promise<Finding[]> {
  const area = "Device";
  try {
    const found = await machine.device(gpuBackend);
    if (found.kind === "cpu") return [noAdapter(machine)];
    const facts = `tier ${found.tier}; ${found.features}; buffers of at most ` +
      formatByteSize(found.maxBindingBytes);
    return [
      { area, state: "ok", text: found.description },
      found.tier === "software"
        ? {
          area,
          state: "note",
          text: `${facts}; computed on the CPU, by a software driver`,
          remedy: "a GPU with a driver for Vulkan, Metal or DX12 is many times faster",
        }
        : { area, state: "ok", text: facts },
    ];
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    return [{ area, state: "missing", text: error.message }];
  }
}

/** Why there is no adapter, as far as Linux tells. */
function noAdapter(machine: Machine): Finding {
  const finding = { area: "Device", state: "note" } as const;
  const text = "no WebGPU adapter: models run on the reference device, on the CPU, slowly";
  const blocked = (machine.names(RENDER_FOLDER) ?? [])
    .filter((name) => name.startsWith("render") && !machine.canOpen(`${RENDER_FOLDER}/${name}`));
  if (blocked.length > 0) {
    return {
      ...finding,
      text: `${text}; ${RENDER_FOLDER}/${blocked[0]} is there, but this user may not open it`,
      remedy:
        'join its group: "sudo usermod -aG render $USER", and log in again (in a container: ' +
        `--device ${RENDER_FOLDER})`,
    };
  }
  const drivers = ICD_FOLDERS.flatMap((folder) => machine.names(folder) ?? []);
  const seen = drivers.length === 0 ? "" : `; Vulkan drivers are installed (${drivers.join(", ")})`;
  return { ...finding, text: text + seen, remedy: DRIVER_HINT.replace(/^[^;]*; /, "") };
}

function memory(machine: Machine): Finding[] {
  const area = "Memory";
  const found = machine.memory();
  if (found === undefined) {
    return [{
      area,
      state: "note",
      text: "free memory is not known, 2 GiB are assumed",
      remedy: "--allow-sys=systemMemoryInfo lets Quire ask",
    }];
  }
  const { available, total } = found;
  const text = `${formatByteSize(available)} of ${formatByteSize(total)} available`;
  if (available >= LITTLE_MEMORY) return [{ area, state: "ok", text }];
  return [{
    area,
    state: "note",
    text,
    remedy:
      "a pool of its own size fits: --kv-cache-memory-bytes 256MiB; quire plan says what does",
  }];
}

/** What `quire serve` with these settings may not do, and what that takes from it. */
function permissions(config: DoctorConfig, machine: Machine): Finding[] {
  const area = "Permissions";
  const check = (needs: Needs, state: "note" | "missing", loss: string): Finding[] => {
    const flags = missingFlags(needs, machine.isGranted);
    return flags.length === 0 ? [] : [{ area, state, text: loss, remedy: flags.join(" ") }];
  };
  const state = stateDirectory(machine.env);
  const stores = state === undefined ? [] : [state];
  const settings = settingsOf(machine);
  const hub = settings instanceof Error ? {} : {
    read: [settings.cacheDir],
    write: [settings.cacheDir],
    net: [netHost(settings.endpoint)],
  };
  const findings = [
    ...check({ net: [listenHost(config)] }, "missing", "Quire may not listen"),
    ...check(engineNeeds(), "missing", "Quire may not read its own folder"),
    ...check({ read: stores, write: stores }, "note", "nothing is remembered over a restart"),
    ...check(hub, "note", "models are not served by name"),
    ...environment(machine),
  ];
  return findings.length > 0 ? findings : [{ area, state: "ok", text: "all that are needed" }];
}

function environment({ isGranted }: Machine): Finding[] {
  if (isGranted({ name: "env", variable: "QUIRE_PORT" })) return [];
  return [{
    area: "Permissions",
    state: "note",
    text: "no variable is read",
    remedy:
      `--allow-env=QUIRE_*,XDG_STATE_HOME,XDG_RUNTIME_DIR,DENO_WEBGPU_BACKEND,${HUB_VARIABLES}`,
  }];
}

function door({ host, port }: DoctorConfig, machine: Machine): Finding[] {
  if (!machine.isGranted({ name: "net", host: listenHost({ host, port }) })) return [];
  const why = machine.whyNotFree(host, port);
  const place = `${host}:${port}`;
  if (why === undefined) return [{ area: "Address", state: "ok", text: `${place} is free` }];
  return [{
    area: "Address",
    state: "missing",
    text: `${place}: ${why}`,
    remedy: "--port takes another, 0 a free one",
  }];
}

function files({ prefixStore, tuningStore }: DoctorConfig, machine: Machine): Finding[] {
  const area = "Files";
  const state = stateDirectory(machine.env);
  if (state === undefined && (prefixStore === undefined || tuningStore === undefined)) {
    return [{
      area,
      state: "note",
      text: "no variable names a home: prefixes and times of kernels are forgotten at the end",
      remedy: "set HOME, and let Quire read it with --allow-env=HOME,XDG_STATE_HOME",
    }];
  }
  const names = state === undefined ? [] : machine.names(state) ?? [];
  const held = names.filter((name) => name.endsWith(".sqlite3"));
  const text = `${state ?? prefixStore}: ${held.length === 0 ? "nothing yet" : held.join(", ")}`;
  return [{ area, state: "ok", text }];
}

function cache(machine: Machine): Finding[] {
  const area = "Models";
  const settings = settingsOf(machine);
  if (settings instanceof Error) return [{ area, state: "note", text: settings.message }];
  const { cacheDir, endpoint, token, isOffline } = settings;
  if (!machine.isGranted({ name: "read", path: cacheDir })) return [];
  const { numModels, numBytes } = machine.models(cacheDir);
  const free = machine.freeBytes(cacheDir);
  const holds = numModels === 0
    ? "none"
    : `${numModels} ${numModels === 1 ? "revision" : "revisions"}, ${formatByteSize(numBytes)}`;
  const room = free === undefined ? "" : `, ${formatByteSize(free)} free`;
  const hub = isOffline
    ? "offline, by HF_HUB_OFFLINE"
    : `from ${endpoint}, ${token === undefined ? "no token" : "with a token"}`;
  return [{
    area,
    state: "ok",
    text: `${holds} in ${cacheDir}${room}; ${hub}`,
    ...(numModels === 0 && !isOffline ? { remedy: "quire pull Qwen/Qwen3-0.6B fetches one" } : {}),
  }];
}

function settingsOf(machine: Machine): HubSettings | StartupError {
  try {
    return hubSettings(machine.env);
  } catch (error) {
    if (error instanceof StartupError) return error;
    throw error;
  }
}
