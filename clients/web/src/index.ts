// A client for the many-calls socket of a Transom gateway: subprotocol
// "transom.v1+json", described in docs/websocket.md. No dependencies.

/** A gRPC status that is not OK. */
export class RpcError extends Error {
  constructor(
    /** The gRPC code: 5 is NOT_FOUND, 14 UNAVAILABLE, 16 UNAUTHENTICATED. */
    readonly code: number,
    message: string,
    /** google.rpc details, each with its "@type". */
    readonly details: readonly unknown[] = [],
    /** The response's trailing metadata. */
    readonly trailer: Metadata = {},
  ) {
    super(message);
    this.name = "RpcError";
  }
}

export type Metadata = Record<string, string[]>;

export interface ClientOptions {
  /** Returns the bearer token to use now. It is asked at each connection, and again by renew(). */
  token?: () => string | undefined | Promise<string | undefined>;
  /** Milliseconds before the first reconnect, doubled each time. Default: 250. */
  minBackoff?: number;
  /** The most milliseconds between reconnects. Default: 15000. */
  maxBackoff?: number;
  /** How many messages of a stream may wait here unread. Default: 32. */
  credits?: number;
  /** The WebSocket to use. Default: the global one. */
  WebSocket?: typeof WebSocket;
}

export interface CallOptions {
  /** Request header fields of this call. */
  header?: Record<string, string>;
  /** The deadline in milliseconds. */
  timeoutMs?: number;
  /** Ends the call. */
  signal?: AbortSignal;
}

export interface SubscribeOptions<Res> extends CallOptions {
  /** Returns the position of a message in its stream, with which to go on after it. */
  cursor?: (message: Res) => unknown;
  /** Puts a position into the request of the next attempt. */
  resume?: (cursor: unknown) => object;
  /** Is told when the stream is lost, before it is opened again. */
  onRetry?: (why: RpcError) => void;
}

/** A call of messages both ways. Iterate over it for the responses. */
export interface Stream<Req, Res> extends AsyncIterable<Res> {
  /** Sends a message. It resolves when the gateway is ready for the next one. */
  send(message: Req): Promise<void>;
  /** Says that there are no more messages. */
  halfClose(): void;
  /** Ends the call. */
  cancel(): void;
  /** The metadata that the response began with, once it is there. */
  readonly header: Metadata;
}

interface Frame {
  id?: number;
  message?: unknown;
  header?: Metadata;
  status?: {code: number; message: string; details?: unknown[]};
  trailer?: Metadata;
  ack?: number;
  goAway?: {retryAfterMs: number};
}

const unavailable = 14;
const canceled = 1;
/** How many messages may be sent ahead of the gateway's acks. */
const sendWindow = 16;

/** Calls methods over one socket, which is opened when it is needed and again when it is lost. */
export class Client {
  private socket: Promise<WebSocket> | undefined;
  private open: WebSocket | undefined;
  private calls = new Map<number, Call>();
  private nextId = 1;
  private failures = 0;
  private notBefore = 0;
  private closed = false;

  /** @param url the gateway's socket, "wss://api.example.com/ws" */
  constructor(private readonly url: string, private readonly options: ClientOptions = {}) {}

  /** Makes a call with one request and one response. */
  async call<Req extends object, Res>(method: string, request: Req, options: CallOptions = {}): Promise<Res> {
    let response: Res | undefined;
    const stream = await this.start<Req, Res>(method, options, request);
    for await (const message of stream) response = message;
    if (response === undefined) throw new RpcError(13, "the call ended without a response");
    return response;
  }

  /** Opens a call of any kind, for one connection: it fails when that is lost. */
  stream<Req extends object, Res>(method: string, options: CallOptions = {}): Promise<Stream<Req, Res>> {
    return this.start<Req, Res>(method, options);
  }

  /**
   * Iterates over a stream of responses. When the connection or the backend is
   * lost (UNAVAILABLE), it is opened again, with backoff, after the last
   * message that was seen if cursor and resume say how.
   */
  async *subscribe<Req extends object, Res>(method: string, request: Req, options: SubscribeOptions<Res> = {}): AsyncGenerator<Res, void, undefined> {
    let current: Req = request;
    for (let attempt = 0; ; attempt++) {
      try {
        const stream = await this.start<Req, Res>(method, options, current);
        for await (const message of stream) {
          attempt = 0;
          if (options.cursor && options.resume) current = {...request, ...options.resume(options.cursor(message))};
          yield message;
        }
        return;
      } catch (error) {
        if (!(error instanceof RpcError) || error.code !== unavailable || this.closed || options.signal?.aborted) throw error;
        options.onRetry?.(error);
        await pause(this.backoff(attempt), options.signal);
      }
    }
  }

  /** Sends the token that options.token returns now, for calls that begin later. */
  async renew(): Promise<void> {
    const token = await this.options.token?.();
    if (token !== undefined) (await this.connected()).send(JSON.stringify({auth: {token}}));
  }

  /** Ends every call, and the socket. */
  close(): void {
    this.closed = true;
    this.open?.close(1000);
    this.lost(new RpcError(canceled, "the client was closed"));
  }

  private async start<Req, Res>(method: string, options: CallOptions, only?: Req): Promise<Stream<Req, Res>> {
    if (options.signal?.aborted) throw new RpcError(canceled, "canceled");
    const socket = await this.connected();
    const id = this.nextId++;
    const credits = this.options.credits ?? 32;
    const write = (frame: object) => {
      if (socket.readyState === 1) socket.send(JSON.stringify({id, ...frame}));
    };
    const call = new Call(write, credits, () => this.calls.delete(id), options.signal);
    this.calls.set(id, call);
    write({
      start: {method, credits, ...(options.header && {header: options.header}), ...(options.timeoutMs && {timeoutMs: options.timeoutMs})},
      ...(only !== undefined && {message: only, halfClose: true}),
    });
    return call as unknown as Stream<Req, Res>;
  }

  private connected(): Promise<WebSocket> {
    if (this.closed) return Promise.reject(new RpcError(canceled, "the client was closed"));
    this.socket ??= this.connect().catch(error => {
      this.socket = undefined;
      this.failures++;
      this.notBefore = Date.now() + this.backoff(this.failures);
      throw error;
    });
    return this.socket;
  }

  private async connect(): Promise<WebSocket> {
    const wait = this.notBefore - Date.now();
    if (wait > 0) await pause(wait);
    const protocols = ["transom.v1+json"];
    const token = await this.options.token?.();
    if (token !== undefined) protocols.push("transom.bearer64." + base64url(token));
    const socket = new (this.options.WebSocket ?? WebSocket)(this.url, protocols);
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = socket.onclose = () => reject(new RpcError(unavailable, "the gateway cannot be reached, or refuses the socket"));
    });
    this.failures = 0;
    this.open = socket;
    socket.onmessage = event => this.receive(socket, JSON.parse(event.data as string) as Frame);
    socket.onerror = null;
    socket.onclose = event => {
      if (this.open !== socket) return this.abandon(socket);
      const after = /^retry_after_ms=(\d+)$/.exec(event.reason);
      if (after) this.notBefore = Math.max(this.notBefore, Date.now() + Number(after[1]));
      this.forget();
      this.lost(new RpcError(unavailable, event.reason || "the connection was lost"));
    };
    return socket;
  }

  /** A socket that was told to go has gone, with what still ran on it. */
  private abandon(socket: WebSocket): void {
    for (const [id, call] of this.calls) {
      if (call.on === socket) {
        this.calls.delete(id);
        call.end(new RpcError(unavailable, "the connection was lost"));
      }
    }
  }

  private receive(socket: WebSocket, frame: Frame): void {
    if (frame.goAway) { // what begins from now on goes to another socket
      this.notBefore = Date.now() + frame.goAway.retryAfterMs;
      for (const call of this.calls.values()) call.on ??= socket;
      this.forget();
      return;
    }
    if (frame.id !== undefined) this.calls.get(frame.id)?.receive(frame);
  }

  private forget(): void {
    this.open = undefined;
    this.socket = undefined;
  }

  private lost(why: RpcError): void {
    const calls = [...this.calls.values()].filter(call => call.on === undefined);
    for (const [id, call] of this.calls) if (call.on === undefined) this.calls.delete(id);
    for (const call of calls) call.end(why);
  }

  /** Full jitter: clients of one gateway do not come back all at once. */
  private backoff(attempt: number): number {
    const most = Math.min(this.options.maxBackoff ?? 15_000, (this.options.minBackoff ?? 250) * 2 ** Math.min(attempt, 20));
    return most / 2 + Math.random() * (most / 2);
  }
}

class Call implements Stream<unknown, unknown> {
  header: Metadata = {};
  /** The socket that this call stays on, when the client has left it. */
  on: WebSocket | undefined;
  private queue: unknown[] = [];
  private ended: RpcError | null | undefined; // null: well
  private wake: (() => void) | undefined;
  private sendable = sendWindow;
  private senders: (() => void)[] = [];
  private taken = 0;

  constructor(
    private readonly write: (frame: object) => void,
    private readonly credits: number,
    private readonly forget: () => void,
    private readonly signal?: AbortSignal,
  ) {
    signal?.addEventListener("abort", this.cancel, {once: true});
  }

  async send(message: unknown): Promise<void> {
    while (this.sendable === 0 && this.ended === undefined) await new Promise<void>(resolve => this.senders.push(resolve));
    if (this.ended) throw this.ended;
    if (this.ended === null) throw new RpcError(canceled, "the call has ended");
    this.sendable--;
    this.write({message});
  }

  halfClose(): void {
    if (this.ended === undefined) this.write({halfClose: true});
  }

  cancel = (): void => {
    if (this.ended !== undefined) return;
    this.write({cancel: true});
    this.end(new RpcError(canceled, "canceled"));
  };

  receive(frame: Frame): void {
    if (frame.header) this.header = frame.header;
    if (frame.ack) {
      this.sendable += frame.ack;
      for (const wake of this.senders.splice(0)) wake();
    }
    if ("message" in frame) this.queue.push(frame.message);
    if (frame.status) {
      const {code, message, details} = frame.status;
      this.end(code === 0 ? null : new RpcError(code, message, details, frame.trailer));
    }
    this.wake?.();
  }

  end(why: RpcError | null): void {
    if (this.ended !== undefined) return;
    this.ended = why;
    this.forget();
    this.signal?.removeEventListener("abort", this.cancel);
    for (const wake of this.senders.splice(0)) wake();
    this.wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown, void, undefined> {
    try {
      for (;;) {
        while (this.queue.length > 0) {
          // Half of the credits are given back at once, so that acks are few.
          if (++this.taken >= Math.max(1, this.credits >> 1)) {
            if (this.ended === undefined) this.write({ack: this.taken});
            this.taken = 0;
          }
          yield this.queue.shift();
        }
        if (this.ended) throw this.ended;
        if (this.ended === null) return;
        await new Promise<void>(resolve => (this.wake = resolve));
      }
    } finally {
      this.cancel();
    }
  }
}

function base64url(text: string): string {
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), {once: true});
  });
}
