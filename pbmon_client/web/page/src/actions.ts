// What keys, clicks and the address do to the state.
import { batch } from "@preact/signals";
import { HOME, isView, membersOf, read, VIEWS, write, type Place, type ViewName } from "./address";
import type { Key, Row } from "./protocol";
import { TRAVEL } from "./travel";
import { toggled, save, type Settings, type Theme } from "./settings";
import * as state from "./state";

/** What the table does on request; it sets these when it is there. */
export const table = {
  rows: 20,
  scrollTo: (_index: number, _align: "auto" | "center" | "start"): void => undefined,
  focus: (): void => undefined,
};

/** The sort of each view that was seen, to come back to. */
const sorts = new Map<ViewName, Pick<Place, "sort" | "reverse">>();
/** The rows of each view that were pinned. */
const pins = new Map<ViewName, Key[]>();
/** The row to select as soon as it is known, by its index. */
let awaited: number | null = null;
/** Where the selection is, from a key press until the server has answered it. */
let here: number | null = null;
/** Whether to bring the selection into sight: it came from an address. */
let seek = state.place.peek().selected !== null;

// --- place ------------------------------------------------------------------------------------

/** Change the place. With `step` the browser's back button undoes it. */
export function go(change: Partial<Place>, step = false): void {
  const next = { ...state.place.value, ...change };
  const address = write(next);
  if (address === write(state.place.value)) return;
  state.place.value = next;
  if (step) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

export function followAddress(): void {
  seek = true;
  state.place.value = read(location.hash);
}

function elsewhere(change: Partial<Place>): void {
  const now = state.place.value;
  sorts.set(now.view, { sort: now.sort, reverse: now.reverse });
  pins.set(now.view, state.pinned.value);
  const view = change.view ?? now.view;
  const sort = sorts.get(view) ?? { sort: HOME.sort, reverse: HOME.reverse };
  batch(() => {
    state.pinned.value = pins.get(view) ?? [];
    state.opened.value = false;
    go({ within: null, selected: null, ...sort, ...change }, true);
  });
  table.scrollTo(0, "start");
}

export function showView(view: ViewName): void {
  if (view !== state.place.value.view || state.place.value.within !== null) elsewhere({ view });
}

/** Show the members of the selected group, or the connections or files of any row. */
export function showMembers(of: "connections" | "files" | null = null): void {
  const { view, selected } = state.place.value;
  const members = of ?? membersOf(view);
  if (selected === null || members === null) return;
  const label = state.selected.value?.title ?? "";
  elsewhere({ view: members, within: { view, key: selected, label }, filter: "" });
}

export function leave(): void {
  const { within, filter } = state.place.value;
  if (state.opened.value) state.opened.value = false;
  else if (within !== null && isView(within.view)) {
    elsewhere({ view: within.view, selected: within.key });
    seek = true;
  } else if (filter !== "") setFilter("");
  else go({ selected: null });
}

export function setFilter(filter: string): void {
  go({ filter });
  table.scrollTo(0, "start");
}

// --- rows -------------------------------------------------------------------------------------

/** Select a row; one that is not known yet, as soon as it arrives. */
export function select(index: number): void {
  const row = state.busy.value ? undefined : state.known.value.rows.get(index);
  awaited = row === undefined ? index : null;
  here = index;
  if (row !== undefined) go({ selected: row.key });
}

/** Select the row that somebody pointed at, wherever it is by now. */
export function choose(row: Row, index: number): void {
  if (state.view.value?.view !== state.place.value.view) return; // its key means nothing here
  awaited = null;
  here = index;
  go({ selected: row.key });
}

function cursor(): number {
  return here ?? state.view.value?.selected_index ?? -1;
}

export function moveTo(index: number): void {
  const last = (state.view.value?.count ?? 0) - 1;
  if (last < 0) return;
  const at = Math.max(0, Math.min(last, index));
  select(at);
  table.scrollTo(at, "auto");
}

/** Called when rows arrived, and whether all wishes are answered: selects what was waited for. */
export function rowsArrived(answered: boolean): void {
  if (answered && awaited === null) here = null;
  if (awaited !== null) select(awaited);
  const at = state.view.value?.selected_index ?? null;
  if (seek && at !== null && awaited === null) {
    seek = false;
    table.scrollTo(at, "center");
  }
}

export function open(): void {
  const { view, selected } = state.place.value;
  if (selected === null) moveTo(0);
  else if (membersOf(view) !== null) showMembers();
  else {
    batch(() => {
      state.opened.value = true;
      state.entering.value = true;
      change({ detail: true });
    });
  }
}

export function pin(): void {
  const { selected } = state.place.value;
  if (selected !== null) state.pinned.value = toggled(state.pinned.value, selected);
}

// --- order ------------------------------------------------------------------------------------

export function sortBy(name: string): void {
  const now = state.place.value;
  if (now.sort === name) go({ reverse: !now.reverse });
  else go({ sort: name, reverse: false });
  table.scrollTo(0, "start");
}

function sortStep(step: 1 | -1): void {
  const names = [null, ...state.wanted.value.filter((c) => c.sortable).map((c) => c.name)];
  const at = names.indexOf(state.place.value.sort);
  go({ sort: names[(at + step + names.length) % names.length] ?? null, reverse: false });
}

// --- settings ---------------------------------------------------------------------------------

export function change(settings: Partial<Settings>): void {
  state.settings.value = { ...state.settings.value, ...settings };
  save(state.settings.value);
}

export const THEMES: readonly Theme[] = ["system", "dark", "light"];

function nextTheme(): void {
  const at = THEMES.indexOf(state.settings.value.theme);
  change({ theme: THEMES[(at + 1) % THEMES.length] ?? "system" });
}

export function acknowledge(): void {
  const keys = state.notices.value.map((notice) => notice.key);
  change({ seen: [...state.settings.value.seen, ...keys].slice(-100) });
}

// --- keys -------------------------------------------------------------------------------------

type Flag = "active" | "totals" | "bits" | "binary" | "exact";

export function flip(flag: Flag): void {
  go({ [flag]: !state.place.value[flag] });
}

function pause(): void {
  batch(() => {
    state.paused.value = !state.paused.value;
    if (state.paused.value) state.pausedMs.value = state.view.value?.time_ms ?? null;
  });
}

const COPIED_MS = 1800;

/** Copy the address of what is shown; the token is no part of it. */
async function copyLink(): Promise<void> {
  const address = new URL(write(state.place.value), location.href).href;
  try {
    await navigator.clipboard.writeText(address);
  } catch {
    window.prompt("The address of this view", address); // the clipboard is forbidden here
    return;
  }
  state.copied.value = true;
  setTimeout(() => {
    state.copied.value = false;
  }, COPIED_MS);
}

export function focusFilter(): void {
  const input = document.getElementById("filter");
  if (input instanceof HTMLInputElement) {
    input.focus();
    input.select();
  }
}

const BY_ACTION: Record<string, (key: string) => void> = {
  up: () => moveTo(cursor() - 1),
  down: () => moveTo(cursor() + 1),
  "page up": () => moveTo(cursor() - table.rows),
  "page down": () => moveTo(cursor() + table.rows),
  home: () => moveTo(0),
  end: () => moveTo(Number.MAX_SAFE_INTEGER),
  open: () => open(),
  back: () => leave(),
  view: (key) => showView(VIEWS[Number(key) - 1] ?? "processes"),
  tree: () => showView(state.place.value.view === "tree" ? "processes" : "tree"),
  detail: () => change({ detail: !state.settings.value.detail }),
  filter: () => focusFilter(),
  "sort next": () => sortStep(1),
  "sort previous": () => sortStep(-1),
  reverse: () => go({ reverse: !state.place.value.reverse }),
  active: () => flip("active"),
  pin: () => pin(),
  pause: () => pause(),
  totals: () => flip("totals"),
  bits: () => flip("bits"),
  binary: () => flip("binary"),
  exact: () => flip("exact"),
  columns: () => {
    state.dialog.value = "columns";
  },
  health: () => {
    state.dialog.value = "health";
  },
  acknowledge: () => acknowledge(),
  theme: () => nextTheme(),
  link: () => void copyLink(),
  help: () => {
    state.dialog.value = "help";
  },
};

export function act(action: string, key = ""): void {
  (BY_ACTION[action] ?? TRAVEL[action])?.(key);
}
