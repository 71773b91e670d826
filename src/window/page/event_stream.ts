/**
 * The `data` of each event of a stream (server-sent events), parsed; ends behind `[DONE]`.
 *
 * Written here since `eventsource-parser` consists of files that its package does not export, so
 * that a browser could not be given them.
 *
 * @throws {Error} where the stream ends without it: the connection was lost.
 */
export async function* eventsOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<unknown> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("The connection to the server was lost");
      const events = (rest + value).split("\n\n");
      rest = events.pop()!;
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data:"))
          .map((line) => line.slice("data:".length).trim()).join("\n");
        if (data === "[DONE]") return;
        if (data !== "") yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
