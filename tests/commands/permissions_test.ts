import { assertEquals, assertThrows } from "@std/assert";
import {
  listenHost,
  missingFlags,
  netHost,
  requirePermissions,
} from "../../src/commands/permissions.ts";
import { StartupError } from "../../src/core/errors.ts";

Deno.test("missingFlags() names what is not granted, in Deno's flags", () => {
  const needs = { net: ["h:1"], read: ["/a", "/b c"], write: ["/a"] };
  assertEquals(missingFlags(needs, () => true), []);
  assertEquals(missingFlags(needs, () => false), [
    "--allow-net=h:1",
    '"--allow-read=/a,/b c"',
    "--allow-write=/a",
  ]);
  const noB = (permission: Deno.PermissionDescriptor) =>
    permission.name !== "read" || permission.path !== "/b c";
  assertEquals(missingFlags(needs, noB), ['"--allow-read=/b c"']);
});

Deno.test("requirePermissions() asks nobody: it refuses with the flags", () => {
  requirePermissions({ read: ["/a"] }, () => true);
  const { message } = assertThrows(
    () => requirePermissions({ net: ["h:1"] }, () => false),
    StartupError,
  );
  assertEquals(
    message,
    'Deno does not allow what this needs: start with --allow-net=h:1, or with "deno run -A ' +
      'main.ts" for everything',
  );
});

Deno.test("hosts are named as permissions name them", () => {
  assertEquals(netHost("http://h:8000/v1"), "h:8000");
  assertEquals([netHost("http://h/v1"), netHost("https://h/v1")], ["h:80", "h:443"]);
  assertEquals(netHost("http://[::1]:8000/v1"), "[::1]:8000");
  assertEquals(listenHost({ host: "::1", port: 8000 }), "[::1]:8000");
  assertEquals(listenHost({ host: "127.0.0.1", port: 0 }), "127.0.0.1");
});
