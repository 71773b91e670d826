import type { Device } from "../src/device/device.ts";
import { ModelRig, type StepShape, type StepTimes } from "./model_rig.ts";
import { openShape } from "./open_shape.ts";
import { SHAPES } from "./shapes.ts";
import { stepTraffic, weightElements } from "./traffic.ts";

/** So much per step, and so much more per kernel call, ms. */
export interface HostCost {
  readonly perStep: number;
  readonly perCall: number;
}

/** The host's work between two steps, and while the device is busy, if it is for so long. */
export interface HostCosts {
  readonly between: HostCost;
  readonly overlapped: HostCost;
}

/** A shape's decode step of one sequence, by arithmetic. */
export interface HostShare {
  readonly shape: string;
  readonly numCalls: number;
  /** What reading the weights and KV takes at the bandwidth asked for. */
  readonly deviceMs: number;
  /** Host work between two steps, and what is left over of the rest when the device is done. */
  readonly hostMs: number;
  /** Of the two together. */
  readonly share: number;
}

/** A measured step: its calls, and the host's time. */
export interface HostPoint {
  readonly numCalls: number;
  readonly times: Pick<StepTimes, "hostMs" | "aheadMs">;
}

/** The line through a step of few calls and one of many. */
export function hostCosts(few: HostPoint, many: HostPoint): HostCosts {
  const line = (field: "hostMs" | "aheadMs"): HostCost => {
    const perCall = (many.times[field] - few.times[field]) / (many.numCalls - few.numCalls);
    return { perStep: few.times[field] - perCall * few.numCalls, perCall };
  };
  return { between: line("hostMs"), overlapped: line("aheadMs") };
}

/** The share of the host in a decode of one sequence, had `device` (one that computes nothing) this bandwidth. */
export async function hostShares(
  device: Device,
  { between, overlapped }: HostCosts,
  gbps: number,
): Promise<HostShare[]> {
  const shares: HostShare[] = [];
  const step: StepShape = { batch: 1, count: 1, context: 128 };
  for (const { name } of SHAPES) {
    const shape = await openShape(device, name);
    if ("skipped" in shape) throw new Error(`${name}: ${shape.skipped}`);
    const { model, weights } = shape;
    const rig = await ModelRig.create(device, shape, step);
    const numCalls = rig.calls.length;
    rig.close();
    const { bytes } = stepTraffic(model, weights, weightElements(model, weights), step);
    const deviceMs = bytes / (gbps * 1e6);
    const cost = ({ perStep, perCall }: HostCost) => perStep + perCall * numCalls;
    const hostMs = cost(between) + Math.max(0, cost(overlapped) - deviceMs);
    shares.push({ shape: name, numCalls, deviceMs, hostMs, share: hostMs / (hostMs + deviceMs) });
  }
  return shares;
}
