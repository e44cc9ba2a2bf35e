// Takes what the server says into the state, and tells it what is wanted.
import { batch, effect } from "@preact/signals";
import { rowsArrived } from "./actions";
import type { Fields, HistoryMessage, Message, SelectedMessage, ViewMessage } from "./protocol";
import { merged } from "./rows";
import { continued, fromHistory, NO_CURVES } from "./series";
import { Connection, socketAddress } from "./socket";
import * as state from "./state";

/** The arrangements that were asked for and not yet answered, by the number of their wish. */
const asked = new Map<number, string>();
let number = 0;

function takeView(message: ViewMessage): void {
  for (const old of asked.keys()) if (old < message.wish) asked.delete(old);
  const arrangement = asked.get(message.wish) ?? "";
  if (message.columns !== undefined) state.columns.value = message.columns;
  state.known.value = merged(
    state.known.value,
    arrangement,
    message.first,
    message.rows,
    message.count,
  );
  if (message.point !== null && message.past === undefined) {
    const curves = state.hostCurves.value;
    state.hostCurves.value = continued(curves, message.point, message.interval_ms, state.pausedMs.value);
  }
  const { filter } = state.place.value;
  if (message.wish === number && filter !== state.refused.value) {
    state.mistake.value = null;
    state.goodFilter.value = filter;
  }
  state.away.value = null;
  state.noPast.value = null;
  if (state.paused.value) state.pausedMs.value = message.time_ms;
  state.view.value = message;
  rowsArrived(message.wish === number);
}

function takeSelected(message: SelectedMessage): void {
  if (message.key !== state.place.value.selected) return;
  const tables = { ...state.flowColumns.value };
  for (const name of ["connections", "files"] as const) {
    const made = message[name]?.columns;
    if (made !== undefined) tables[name] = made;
  }
  state.flowColumns.value = tables;
  if (message.point !== null && state.place.value.time === null) {
    const interval = state.view.value?.interval_ms ?? 1000;
    const curves = state.rowCurves.value;
    state.rowCurves.value = continued(curves, message.point, interval, state.pausedMs.value);
  }
  state.selected.value = message;
}

function takeHistory(message: HistoryMessage): void {
  // A group has no history: what was seen of it here is all there is.
  if (message.t_ms.length === 0) return;
  if (message.key === null) {
    state.hostCurves.value = fromHistory(message, state.hostCurves.value);
  }
  else if (message.key === state.place.value.selected) {
    state.rowCurves.value = fromHistory(message, state.rowCurves.value);
  }
}

function take(message: Message): void {
  batch(() => {
    if (message.type === "view") takeView(message);
    else if (message.type === "selected") takeSelected(message);
    else if (message.type === "history") takeHistory(message);
    else if (message.type === "error" && message.wish === number) {
      state.mistake.value = message.message;
      state.refused.value = state.place.value.filter;
    } else if (message.type === "no_past") {
      if (message.wish === number) state.noPast.value = message.message;
    } else if (message.type === "away" && state.place.value.time === null) {
      state.away.value = { sinceMs: message.since_ms, message: message.message };
    }
  });
}

/** Ask what there is to show; its answer also tells why the socket was refused. */
async function askFields(): Promise<void> {
  const answer = await fetch(new URL("api/v1/fields", document.baseURI));
  if (answer.ok) {
    state.fields.value ??= (await answer.json()) as Fields;
  } else if (answer.status === 401) {
    serverAway("this address needs its token again: open the one that pbmon-client web printed");
  }
}

function serverAway(message: string): void {
  state.away.value = { sinceMs: state.away.value?.sinceMs ?? Date.now(), message };
}

export function start(begun: WebSocket): void {
  const connection = new Connection(socketAddress(document.baseURI), {
    message: take,
    opened: () => sendWish(),
    closed: () => {
      serverAway("the server of this page does not answer");
      askFields().catch(() => undefined); // it will when it is back
    },
  });
  function sendWish(): void {
    const wish = state.wish.peek();
    if (wish === null) return;
    number += 1;
    asked.set(number, state.arrangement.peek());
    connection.send({ wish: number, ...wish });
  }
  let row = state.place.peek().selected;
  effect(() => {
    if (state.place.value.selected === row) return;
    row = state.place.value.selected;
    state.selected.value = null;
    state.rowCurves.value = NO_CURVES;
  });
  let last = "";
  effect(() => {
    const text = JSON.stringify(state.wish.value);
    if (text === last) return;
    last = text;
    sendWish();
  });
  connection.open(begun);
  askFields().catch(() => undefined);
  addEventListener("online", () => connection.hurry());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) connection.hurry();
  });
}
