import type { PreparedCall } from "./step_recorder.ts";

/** Most timestamps of one query set, and bytes of each. */
const MAX_TIMESTAMPS = 4096;
const TIMESTAMP_BYTES = 8;

/**
 * Runs the calls of a step, each in a pass of its own, and returns how long each took by the
 * device's clock, ns, from the end of the pass before to its own: all of them together are the
 * whole step. The device must have granted `timestamp-query`.
 *
 * For benches: the figures include the extra cost of separate passes. llvmpipe notes some ends only
 * when the next pass has run (seen with Mesa 22.3): there the sum alone means something.
 *
 * @throws {RangeError} beyond 4,095 calls.
 */
export async function profilePasses<Dims>(
  device: GPUDevice,
  calls: readonly PreparedCall<Dims>[],
  dims: Dims,
): Promise<Float64Array<ArrayBuffer>> {
  const count = calls.length + 1;
  if (count > MAX_TIMESTAMPS) {
    throw new RangeError(`Cannot profile ${calls.length} calls: ${MAX_TIMESTAMPS - 1} at most`);
  }
  const querySet = device.createQuerySet({ type: "timestamp", count });
  const size = count * TIMESTAMP_BYTES;
  const resolved = device.createBuffer({
    size,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const staging = device.createBuffer({
    size,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  const encoder = device.createCommandEncoder();
  encoder.beginComputePass({ timestampWrites: { querySet, endOfPassWriteIndex: 0 } }).end();
  calls.forEach((call, i) => recordPass(encoder, call, { dims, querySet, at: i + 1 }));
  encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const stamps = new BigUint64Array(staging.getMappedRange().slice(0));
  for (const owned of [querySet, resolved, staging]) owned.destroy();
  return Float64Array.from(calls, (_, i) => Number(stamps[i + 1]! - stamps[i]!));
}

/** A pass that ends at timestamp `at`; one without work, too. */
function recordPass<Dims>(
  encoder: GPUCommandEncoder,
  { pipeline, bindGroup, workgroups }: PreparedCall<Dims>,
  { dims, querySet, at }: { dims: Dims; querySet: GPUQuerySet; at: number },
): void {
  const pass = encoder.beginComputePass({
    timestampWrites: { querySet, endOfPassWriteIndex: at },
  });
  const [x, y, z] = workgroups(dims);
  if (x > 0 && y > 0 && z > 0) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(x, y, z);
  }
  pass.end();
}
