import { assert } from "@std/assert";

const MIB = 2 ** 20;

/** A message of the inspector: the answer to a call, or an event. */
interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: {
    readonly sessionId?: string;
    readonly targetInfo?: { readonly url: string };
  };
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

/**
 * The JavaScript heaps of a process that was started with Deno's `--inspect=127.0.0.1:PORT`: the
 * main isolate's and its Workers', by the Chrome DevTools Protocol.
 */
export class IsolateHeaps {
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, (message: Message) => void>();
  /** Sessions of Workers, by the URL of their script. */
  readonly #workers = new Map<string, string>();
  #lastId = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
  }

  /** Connects to the process; its Workers are those that have started by then. */
  static async connect(port: number): Promise<IsolateHeaps> {
    const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
    const socket = new WebSocket(targets[0].webSocketDebuggerUrl);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    const heaps = new IsolateHeaps(socket);
    const autoAttach = { autoAttach: true, waitForDebuggerOnStart: false, flatten: true };
    await heaps.#call("Target.setAutoAttach", autoAttach);
    return heaps;
  }

  /**
   * What an isolate holds when all garbage is collected, MiB, with the buffers outside of its heap.
   *
   * @param script the end of a Worker's URL; the main isolate without it.
   */
  async usedMiB(script?: string): Promise<number> {
    const session = script === undefined ? undefined : this.#sessionOf(script);
    await this.#call("HeapProfiler.collectGarbage", {}, session);
    const usage = await this.#call("Runtime.getHeapUsage", {}, session);
    return (Number(usage.usedSize) + Number(usage.backingStorageSize)) / MIB;
  }

  close(): void {
    this.#socket.close();
  }

  #sessionOf(script: string): string {
    const [, session] = [...this.#workers].find(([url]) => url.endsWith(script)) ?? [];
    assert(session !== undefined, `no Worker ${script} among ${[...this.#workers.keys()]}`);
    return session;
  }

  async #call(method: string, params: object = {}, sessionId?: string) {
    const id = ++this.#lastId;
    const answer = new Promise<Message>((resolve) => this.#answers.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    const { result, error } = await answer;
    assert(result !== undefined, `${method}: ${error?.message}`);
    return result;
  }

  #take({ id, method, params, result, error }: Message): void {
    if (method === "Target.attachedToTarget") {
      this.#workers.set(params!.targetInfo!.url, params!.sessionId!);
    }
    if (id === undefined) return;
    this.#answers.get(id)?.({ ...(result ? { result } : {}), ...(error ? { error } : {}) });
    this.#answers.delete(id);
  }
}
