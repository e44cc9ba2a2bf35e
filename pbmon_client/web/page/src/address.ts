// The place that the address names, so that a link or a reload shows the same. It is in the
// fragment, which no request carries: filters stay out of logs and survive redirects.
import type { Key, Scope, Units } from "./protocol";

export const VIEWS = [
  "processes",
  "programs",
  "users",
  "units",
  "connections",
  "hosts",
  "ports",
  "files",
  "tree",
] as const;
export type ViewName = (typeof VIEWS)[number];

/** The views whose rows are groups, and the view of their members. */
const MEMBERS: Partial<Record<ViewName, ViewName>> = {
  programs: "processes",
  users: "processes",
  units: "processes",
  hosts: "connections",
  ports: "connections",
};

export function membersOf(view: ViewName): ViewName | null {
  return MEMBERS[view] ?? null;
}

export interface Place extends Units {
  view: ViewName;
  /** The group that was opened, with its name for people. */
  within: (Scope & { label: string }) | null;
  filter: string;
  active: boolean;
  /** Null sorts by what moves most. */
  sort: string | null;
  reverse: boolean;
  selected: Key | null;
  time: Time;
}

/** Which time is shown, in whole seconds of the epoch; null is now. */
export type Time = { at: number } | { since: number; until: number } | null;

/** Whether a moment, or the first or last second of a range, is at a second. */
export function isAt(time: Time, second: number): boolean {
  if (time === null) return false;
  return "at" in time ? time.at === second : time.since === second || time.until === second + 1;
}

export const HOME: Readonly<Place> = {
  view: "processes",
  within: null,
  filter: "",
  active: false,
  sort: null,
  reverse: false,
  selected: null,
  time: null,
  totals: false,
  bits: false,
  binary: false,
  exact: false,
};

const FLAGS = ["active", "totals", "bits", "binary", "exact"] as const;

export function isView(text: string | null): text is ViewName {
  return VIEWS.includes(text as ViewName);
}

/** Write a place as a fragment; what is usual is left out. */
export function write(place: Place): string {
  const parts = new URLSearchParams();
  parts.set("view", place.view);
  if (place.within !== null) {
    parts.set("in", place.within.view);
    parts.set("key", place.within.key);
    parts.set("of", place.within.label);
  }
  if (place.filter !== "") parts.set("filter", place.filter);
  if (place.sort !== null) parts.set("sort", place.sort);
  if (place.reverse) parts.set("reverse", "1");
  for (const flag of FLAGS) if (place[flag]) parts.set(flag, "1");
  if (place.selected !== null) parts.set("selected", place.selected);
  for (const [name, seconds] of Object.entries(place.time ?? {})) parts.set(name, written(seconds));
  return `#${parts}`;
}

function written(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

/** Seconds of the epoch, in the year 2242; the server knows no later times. */
const END = 2 ** 33 - 1;

function readTime(parts: URLSearchParams): Time {
  const [at, since, until] = ["at", "since", "until"].map((name) => {
    const seconds = Math.floor(Date.parse(parts.get(name) ?? "") / 1000);
    return seconds <= END ? seconds : NaN;
  }) as [number, number, number];
  if (at >= 0) return { at };
  return since >= 0 && until > since ? { since, until } : null;
}

/** Read a fragment; whatever makes no sense is as usual. */
export function read(fragment: string): Place {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  const view = parts.get("view");
  const [group, key] = [parts.get("in"), parts.get("key")];
  const place: Place = {
    ...HOME,
    view: isView(view) ? view : HOME.view,
    filter: parts.get("filter") ?? "",
    sort: parts.get("sort"),
    reverse: parts.get("reverse") === "1",
    selected: parts.get("selected"),
    time: readTime(parts),
  };
  for (const flag of FLAGS) place[flag] = parts.get(flag) === "1";
  if (isView(group) && key !== null) {
    place.within = { view: group, key, label: parts.get("of") ?? "" };
  }
  return place;
}
