/** A parsed `host[:port]`. */
export interface Host {
  /** Lower case; an IPv6 address without its brackets. */
  readonly name: string;
  readonly port?: number;
}

const HOST = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?))(?::(\d{1,5}))?$/;
const MAX_PORT = 65_535;

/**
 * Parses a Host header or the authority of a URL. Undefined for anything but a plain `host[:port]`
 * (RFC 9110 section 7.2): user info, odd characters, a port out of range, and IPv4 addresses not
 * written as four decimals, which parsers read differently.
 */
export function parseHost(text: string): Host | undefined {
  const [, address, name, digits] = HOST.exec(text.toLowerCase()) ?? [];
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && port > MAX_PORT) return undefined;
  const isPlain = address === undefined ? name !== undefined && isPlainName(name) : isIpv6(address);
  if (!isPlain) return undefined;
  return { name: (address ?? name)!, ...(port === undefined ? {} : { port }) };
}

/** A name whose last label is a number: URL parsers read it as an IPv4 address. */
function isPlainName(name: string): boolean {
  const last = name.replace(/\.$/, "").split(".").at(-1)!;
  return !/^(\d+|0x[0-9a-f]*)$/.test(last) || canonicalName(name) === name;
}

function isIpv6(address: string): boolean {
  return URL.canParse(`http://[${address}]`);
}

/** A host name or address as URL parsers normalize it; undefined for anything else. */
function canonicalName(name: string): string | undefined {
  const bracketed = name.includes(":") && !name.startsWith("[") ? `[${name}]` : name;
  return URL.parse(`http://${bracketed}`)?.hostname;
}

/** Whether a host name or address, in any spelling (`127.1`, `[::1]`), means this machine alone. */
export function isLoopback(name: string): boolean {
  const host = canonicalName(name)?.replace(/\.$/, "") ?? "";
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" ||
    /^127(\.\d{1,3}){3}$/.test(host) || /^\[::ffff:7f[0-9a-f]{2}:/.test(host);
}

/** Whether an address to listen on means every address of the machine. */
export function isEveryAddress(name: string): boolean {
  return ["0.0.0.0", "[::]"].includes(canonicalName(name) ?? "");
}
