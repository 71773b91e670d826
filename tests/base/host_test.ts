import { assert, assertEquals } from "@std/assert";
import { isEveryAddress, isLoopback, parseHost } from "../../src/base/host.ts";

Deno.test("parseHost() takes plain hosts apart", () => {
  assertEquals(parseHost("localhost"), { name: "localhost" });
  assertEquals(parseHost("GPU.Example:8000"), { name: "gpu.example", port: 8000 });
  assertEquals(parseHost("127.0.0.1:65535"), { name: "127.0.0.1", port: 65535 });
  assertEquals(parseHost("[::1]:80"), { name: "::1", port: 80 });
  assertEquals(parseHost("my_host.internal."), { name: "my_host.internal." });
  assertEquals(parseHost("a-b.c"), { name: "a-b.c" });
});

Deno.test("parseHost() takes nothing that parsers may read in two ways", () => {
  const odd = [
    "",
    " ",
    "a b",
    "a\\health?",
    "a\\b",
    "a/b",
    "a?b",
    "a#b",
    "a%41",
    "user@a",
    "user:pw@a",
    "a:",
    "a:b",
    "a:1:2",
    "a:99999",
    "127.0.0.1:99999",
    "a:123456",
    "127.999.1.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "127.0.0.01",
    "1.2.3.4.5",
    "::1",
    "[::1",
    "[::g]",
    "[1:2]",
    "[::1]x",
    "-a",
    "a-",
    ".a",
    "ä",
    "a\u0000",
    "a,b",
  ];
  for (const text of odd) assertEquals(parseHost(text), undefined, JSON.stringify(text));
});

Deno.test("isLoopback() knows the names and addresses of this machine in any spelling", () => {
  const own = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "127.0.0.1",
    "127.1.2.3",
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "[::ffff:7f00:1]",
  ];
  for (const host of own) assert(isLoopback(host), host);
  const foreign = [
    "0.0.0.0",
    "0",
    "::",
    "192.168.0.1",
    "localhost.example",
    "1127.0.0.1",
    "128.1",
    "::ffff:128.0.0.1",
    "",
    "a\\b",
  ];
  for (const host of foreign) assert(!isLoopback(host), host);
});

Deno.test("isEveryAddress() knows the unspecified addresses", () => {
  for (const host of ["0.0.0.0", "0", "::", "[::]", "0:0::0"]) assert(isEveryAddress(host), host);
  for (const host of ["127.0.0.1", "::1", "example"]) assert(!isEveryAddress(host), host);
});
