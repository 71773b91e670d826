/** The part of a socket that {@link Connections} uses. */
export interface Connection {
  /** Bytes written to it so far, and those of them that the client has not received yet. */
  readonly bytesWritten: number;
  readonly writableLength: number;
  destroy(): void;
}

/** The state of a connection. */
interface Activity {
  /** Requests that are not answered yet. */
  numRequests: number;
  /** Bytes that the client had received at the last check. */
  numTaken: number;
  /** When it last received one, or had nothing to receive, in ms. */
  takenMs: number;
}

/** Bounds of the connections of a server. */
export interface ConnectionLimits {
  /** Most open connections. */
  readonly maxConnections: number;
  /** Time within which a client must receive some of an answer that waits for it, in ms. */
  readonly writeTimeoutMs: number;
}

/**
 * The open connections of a server.
 *
 * At the limit, a new one takes the place of the one that has been idle longest: it waits for a
 * request, or for the rest of its header. Where all have requests under way, the new one is closed.
 * So a client that hoards idle connections loses those, and others are still served.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  /** Without a request under way, the longest idle first. */
  readonly #idle = new Map<Connection, Activity>();
  readonly #busy = new Map<Connection, Activity>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#idle.size + this.#busy.size;
  }

  /** Adds a connection made at `nowMs`; returns whether it may stay. */
  add(connection: Connection, nowMs: number): boolean {
    if (this.size >= this.#limits.maxConnections) {
      const [longest] = this.#idle.keys();
      if (longest === undefined) return false;
      this.remove(longest);
      longest.destroy();
    }
    this.#idle.set(connection, { numRequests: 0, numTaken: 0, takenMs: nowMs });
    return true;
  }

  /** A request has arrived on it. */
  begin(connection: Connection): void {
    const activity = this.#activityOf(connection);
    if (activity === undefined) return;
    activity.numRequests++;
    this.#idle.delete(connection);
    this.#busy.set(connection, activity);
  }

  /** A request on it is answered. */
  end(connection: Connection): void {
    const activity = this.#busy.get(connection);
    if (activity === undefined || --activity.numRequests > 0) return;
    this.#busy.delete(connection);
    this.#idle.set(connection, activity);
  }

  /** It is closed. */
  remove(connection: Connection): void {
    this.#idle.delete(connection);
    this.#busy.delete(connection);
  }

  /**
   * Closes the connections whose clients have received nothing of their answer for too long.
   * O(connections).
   */
  closeStalled(nowMs: number): void {
    for (const [connection, activity] of [...this.#idle, ...this.#busy]) {
      const { bytesWritten, writableLength } = connection;
      const numTaken = bytesWritten - writableLength;
      if (writableLength === 0 || numTaken > activity.numTaken) activity.takenMs = nowMs;
      activity.numTaken = numTaken;
      if (nowMs - activity.takenMs < this.#limits.writeTimeoutMs) continue;
      this.remove(connection);
      connection.destroy();
    }
  }

  #activityOf(connection: Connection): Activity | undefined {
    return this.#idle.get(connection) ?? this.#busy.get(connection);
  }
}
