// The connection to the server: sends the newest wish, hands on messages, comes back by itself.
import type { Message, Wish } from "./protocol";

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 5000;
/** Wishes go out no faster than this; the newest of those that wait is the one that goes. */
const WISH_EVERY_MS = 60;

export interface Listener {
  message(message: Message): void;
  opened(): void;
  closed(): void;
}

/** How long to wait before the nth attempt in a row, in ms. */
export function delayBefore(attempt: number): number {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
}

export function socketAddress(page: string): string {
  const address = new URL("api/v1/page", page);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  address.search = "";
  return address.href;
}

export class Connection {
  private socket: WebSocket | null = null;
  private attempt = 0;
  private retry: number | undefined;
  private waiting: Wish | null = null;
  private timer: number | undefined;
  private sentAt = -WISH_EVERY_MS;

  constructor(
    private readonly address: string,
    private readonly listener: Listener,
  ) {}

  /** Connect; or go on with a connection that has been begun in this very moment. */
  open(socket = new WebSocket(this.address)): void {
    clearTimeout(this.retry);
    this.socket = socket;
    socket.onopen = () => {
      this.attempt = 0;
      this.listener.opened();
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      this.listener.message(JSON.parse(event.data) as Message);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.listener.closed();
      this.retry = window.setTimeout(() => this.open(), delayBefore(this.attempt++));
    };
  }

  /** Try again now: the machine woke up, or the network came back. */
  hurry(): void {
    if (this.socket === null) {
      this.attempt = 0;
      this.open();
    }
  }

  send(wish: Wish): void {
    this.waiting = wish;
    if (this.timer !== undefined) return;
    const wait = this.sentAt + WISH_EVERY_MS - performance.now();
    // At once, before anything is drawn: the server works on it meanwhile.
    if (wait <= 0) this.flush();
    else this.timer = window.setTimeout(() => this.flush(), wait);
  }

  private flush(): void {
    this.timer = undefined;
    if (this.waiting === null || this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify(this.waiting));
    this.waiting = null;
    this.sentAt = performance.now();
  }
}
