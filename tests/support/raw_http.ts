/** What came back on a raw connection. */
export interface Exchange {
  /** Of the first final answer; 0 where the connection was closed without one. */
  readonly status: number;
  /** Everything that came, interim answers included, as Latin-1. */
  readonly text: string;
}

/**
 * Sends bytes as they are, Latin-1, and reads until the other side closes or is silent too long.
 */
export async function exchange(
  port: number,
  request: string,
  { halfClose = false, giveUpMs = 10_000 }: { halfClose?: boolean; giveUpMs?: number } = {},
): Promise<Exchange> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const timer = setTimeout(() => conn.close(), giveUpMs);
  let text = "";
  try {
    await send(conn, request);
    if (halfClose) await conn.closeWrite();
    text = await readAll(conn);
  } catch {
    // Closed by the other side, which is an answer too.
  } finally {
    clearTimeout(timer);
    try {
      conn.close();
    } catch {
      // Given up above.
    }
  }
  return { status: statusIn(text), text };
}

/** Writes Latin-1 text whole. */
export async function send(conn: Deno.TcpConn, text: string): Promise<void> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

/** Most answers are shorter, and a call takes as many arguments. */
const BUFFER_BYTES = 4096;

/** Reads Latin-1 text until the other side closes; what came before an error is kept. */
export async function readAll(conn: Deno.TcpConn): Promise<string> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  let text = "";
  for (;;) {
    let length: number | null;
    try {
      length = await conn.read(buffer);
    } catch {
      return text;
    }
    if (length === null) return text;
    text += String.fromCharCode(...buffer.subarray(0, length));
  }
}

/** The status of the first answer in `text` that is not interim. */
export function statusIn(text: string): number {
  const statuses = [...text.matchAll(/^HTTP\/1\.[01] (\d{3})/gm)].map(([, code]) => Number(code));
  return statuses.find((status) => status >= 200) ?? 0;
}
