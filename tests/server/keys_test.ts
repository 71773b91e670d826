import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { affordableConnections } from "../../src/server/descriptors.ts";
import { readKeys } from "../../src/server/keys.ts";
import { publicBindRefusal } from "../../src/server/public_bind.ts";

Deno.test("readKeys() adds the keys of files, one per line", () => {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, "from-file-1\r\n\n  from-file-2\ngiven\n");
    const { apiKeys, adminKeys } = readKeys({
      apiKey: ["given"],
      apiKeyFile: file,
      adminKey: ["a"],
    });
    assertEquals(apiKeys, ["given", "from-file-1", "from-file-2"]);
    assertEquals(adminKeys, ["a"]);
    assertEquals(readKeys({ apiKey: [], adminKey: [], adminKeyFile: file }).adminKeys.length, 3);
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("readKeys() reads names and limits behind a key, from flags and files alike", () => {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(
      file,
      "# the team\nk2  priority=-2 name=bob\n#k3\nk4 max-requests=2\nk1\n",
    );
    const apiKey = ["k1 name=alice max-requests=4 tokens-per-minute=20000 priority=1"];
    const { apiKeys, keyRules } = readKeys({ apiKey, apiKeyFile: file, adminKey: ["a"] });
    assertEquals(apiKeys, ["k1", "k2", "#k3", "k4"]);
    assertEquals([...keyRules!], [
      ["k1", { name: "alice", maxRequests: 4, tokensPerMinute: 20_000, priority: 1 }],
      ["k2", { name: "bob", priority: -2 }],
      ["#k3", { name: "key-3" }],
      ["k4", { name: "key-4", maxRequests: 2 }],
      ["a", { name: "admin-1" }],
    ]);
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("readKeys() refuses settings that there are not, without showing what was given", () => {
  const bad = [
    "k secret",
    "k name=",
    "k name=a b",
    "k max-requests=0",
    "k max-requests=1.5",
    "k tokens-per-minute=many",
    "k priority=high",
    "k name=a name=b",
    "k __proto__=1",
  ];
  for (const line of bad) {
    const read = () => readKeys({ apiKey: [line], adminKey: [] });
    const { message } = assertThrows(read, StartupError, "key 1 does not");
    assert(!message.includes("secret"), message);
  }
  const twice: [string[], string][] = [
    [["a name=x", "b name=x"], "Two keys have the name x"],
    [["a name=x", "a name=y"], "key twice with different settings: key 2"],
  ];
  for (const [apiKey, words] of twice) {
    assertThrows(() => readKeys({ apiKey, adminKey: [] }), StartupError, words);
  }
});

Deno.test("readKeys() refuses what would open the door or could never open it", () => {
  const empty = Deno.makeTempFileSync();
  try {
    const cases: [Parameters<typeof readKeys>[0], string][] = [
      [{ apiKey: ["same"], adminKey: ["same"] }, "--admin-key holds a key that is an --api-key"],
      [{ apiKey: ["has space"], adminKey: [] }, "--api-key must hold printable ASCII"],
      [{ apiKey: [], adminKey: ["a", "schlüssel"] }, "key 2 does not"],
      [{ apiKey: [], apiKeyFile: empty, adminKey: [] }, "holds no key"],
      [{ apiKey: [], adminKey: [], adminKeyFile: `${empty}.none` }, "--admin-key-file"],
    ];
    for (const [settings, words] of cases) {
      const { message } = assertThrows(() => readKeys(settings), StartupError);
      assertStringIncludes(message, words);
      assert(!message.includes("same") && !message.includes("schl"), "a key is shown");
    }
  } finally {
    Deno.removeSync(empty);
  }
});

Deno.test("publicBindRefusal() lets nobody in without a key who did not ask for that", () => {
  const closed = { apiKeys: [], allowPublic: false };
  for (const address of ["0.0.0.0", "::", "192.168.1.2", "vsock"]) {
    assertStringIncludes(publicBindRefusal(address, closed)!, `listens on ${address}`);
    assertEquals(publicBindRefusal(address, { ...closed, apiKeys: ["k"] }), undefined);
    assertEquals(publicBindRefusal(address, { ...closed, allowPublic: true }), undefined);
  }
  for (const address of ["127.0.0.1", "127.1", "::1", "localhost"]) {
    assertEquals(publicBindRefusal(address, closed), undefined);
  }
});

Deno.test("affordableConnections() stays below the descriptors there are, and closes its own", () => {
  function limited(limit: number) {
    let numOpen = 0;
    let most = 0;
    const open = () => {
      if (numOpen === limit) throw new Error("Too many open files");
      most = Math.max(most, ++numOpen);
      return { close: () => void numOpen-- };
    };
    return { open, left: () => numOpen, most: () => most };
  }
  for (const [limit, expected] of [[5000, 1024], [1152, 1024], [1000, 872], [130, 8], [0, 1024]]) {
    const descriptors = limited(limit!);
    assertEquals(affordableConnections(1024, descriptors.open), expected);
    assertEquals(descriptors.left(), 0);
    assert(descriptors.most() <= 1152);
  }
  assertEquals(affordableConnections(64), 64);
});
