/** Whether Deno lets this process read a path; asks nobody. */
export function mayRead(path: string): boolean {
  return Deno.permissions.querySync({ name: "read", path }).state === "granted";
}
