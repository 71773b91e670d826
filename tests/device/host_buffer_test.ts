import { assertEquals } from "@std/assert";
import { HostBuffer } from "../../src/device/host_buffer.ts";

Deno.test("HostBuffer.asF32() decodes halves and bfloats, again after a write", () => {
  const buffer = new HostBuffer("b", 8);
  buffer.write(0, new Uint8Array(Uint16Array.of(0x3c00, 0xc000, 0, 0x7bff).buffer));
  assertEquals([...buffer.asF32("f16")], [1, -2, 0, 65504]);
  buffer.write(0, new Uint8Array(Uint16Array.of(0x3f80, 0xc000, 0, 0).buffer));
  assertEquals([...buffer.asF32("bf16")], [1, -2, 0, 0]);
  assertEquals(buffer.asF32("f16")[1], -2);
});
