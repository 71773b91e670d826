import { assertEquals } from "@std/assert";
import { stateDirectory } from "../../src/state/state_directory.ts";

Deno.test("stateDirectory() follows the custom of each platform", () => {
  const env = { HOME: "/home/ada", XDG_STATE_HOME: "/var/ada/", LOCALAPPDATA: "C:\\Ada" };
  assertEquals(stateDirectory(env, "linux"), "/var/ada/quire");
  assertEquals(stateDirectory({ HOME: "/home/ada" }, "darwin"), "/home/ada/.local/state/quire");
  assertEquals(stateDirectory(env, "windows"), "C:\\Ada\\quire");
});

Deno.test("stateDirectory() ignores a relative folder, and knows none without a home", () => {
  const env = { HOME: "/home/ada", XDG_STATE_HOME: "state" };
  assertEquals(stateDirectory(env, "linux"), "/home/ada/.local/state/quire");
  assertEquals(stateDirectory({ HOME: "" }, "linux"), undefined);
  assertEquals(stateDirectory({}, "windows"), undefined);
});
