import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { accessRules, type AccessSettings } from "../../src/server/access_rules.ts";

const SETTINGS: AccessSettings = {
  allowedHosts: [],
  corsOrigins: [],
  allowAnyOrigin: false,
  metricsAccess: "key",
};
const NO_KEYS = { apiKeys: [], adminKeys: [] };
const KEYS = { apiKeys: ["k"], adminKeys: [] };

function refusal(settings: Partial<AccessSettings>, keys = NO_KEYS as typeof KEYS): string {
  const make = () => accessRules({ ...SETTINGS, ...settings }, keys, "127.0.0.1");
  return assertThrows(make, StartupError).message;
}

Deno.test("accessRules() takes names of hosts, and origins with any scheme", () => {
  const corsOrigins = [
    "https://app.example/",
    "http://localhost:5173",
    "tauri://localhost",
    "app://.",
    "chrome-extension://abcdefgh",
    "vscode-webview://*",
    "http://[::1]:3000",
  ];
  const allowedHosts = ["gpu.example", "*.gpu.example", "*"];
  const rules = accessRules({ ...SETTINGS, allowedHosts, corsOrigins }, KEYS, "0.0.0.0");
  assertEquals(rules.allowedHosts, allowedHosts);
  assertEquals(rules.corsOrigins, ["https://app.example", ...corsOrigins.slice(1)]);
  assertEquals([rules.hostname, rules.apiKeys, rules.metrics], ["0.0.0.0", ["k"], "key"]);
});

Deno.test("accessRules() refuses what no header can have", () => {
  for (const host of ["gpu.example:8000", "http://gpu.example", "*gpu", "a b", "[::1]", "."]) {
    assertStringIncludes(refusal({ allowedHosts: [host] }), `got ${JSON.stringify(host)}`);
  }
  for (
    const origin of ["app.example", "https://a.example/path", "null", "https://", "*.x", "x://*y"]
  ) {
    assertStringIncludes(refusal({ corsOrigins: [origin] }), "--cors-origins must hold origins");
  }
});

Deno.test("accessRules() does not let any page use a key unless that is said", () => {
  for (const origin of ["*", "https://*", "HTTP://*"]) {
    assertStringIncludes(refusal({ corsOrigins: [origin] }, KEYS), "--allow-any-origin");
    accessRules({ ...SETTINGS, corsOrigins: [origin] }, NO_KEYS, "127.0.0.1");
    const told = { ...SETTINGS, corsOrigins: [origin], allowAnyOrigin: true };
    assertEquals(accessRules(told, KEYS, "127.0.0.1").corsOrigins, [origin]);
  }
});
