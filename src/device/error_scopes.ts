/** What a device does under error scopes, and the first error of it. */
export interface Scoped<T> {
  readonly made: T;
  readonly error: GPUError | undefined;
}

/**
 * Runs `make` and collects its errors of these kinds, the first kind's before the others'. The
 * scopes of several such calls at a time do not mix: each is opened and closed before anything is
 * awaited.
 */
export async function withErrorScopes<T>(
  device: Pick<GPUDevice, "pushErrorScope" | "popErrorScope">,
  kinds: readonly GPUErrorFilter[],
  make: () => T,
): Promise<Scoped<T>> {
  for (const kind of kinds) device.pushErrorScope(kind);
  const close = () => kinds.map(() => device.popErrorScope()).reverse();
  let made: T;
  try {
    made = make();
  } catch (error) {
    await Promise.allSettled(close());
    throw error;
  }
  const errors = await Promise.all(close());
  return { made, error: errors.find((error) => error !== null) ?? undefined };
}
