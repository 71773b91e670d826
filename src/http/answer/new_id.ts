/** An id that nothing else has: `prefix`, such as `chatcmpl-`, and 32 hexadecimal digits. */
export function newId(prefix: string): string {
  return prefix + crypto.randomUUID().replaceAll("-", "");
}
