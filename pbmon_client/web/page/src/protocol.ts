// What the page and its server say to each other, as types. Times are Unix ms, rates bytes/s.

export const SERIES = ["net_rx", "net_tx", "file_read", "file_write"] as const;
export type SeriesName = (typeof SERIES)[number];

/** Opaque: made by the server, given back as it came. */
export type Key = string;
export type Tone = "good" | "warn" | "alert";

export interface Units {
  totals: boolean;
  bits: boolean;
  binary: boolean;
  exact: boolean;
}

export interface Scope {
  view: string;
  key: Key;
}

/** All that the page wants to see; the newest wish wins. */
export interface Wish {
  wish: number;
  view: string;
  filter: string;
  active: boolean;
  sort: string | null;
  reverse: boolean;
  hidden: string[];
  within: Scope[];
  columns: string[] | null;
  units: Units;
  window: { first: number; count: number };
  selected: Key | null;
  pinned: Key[];
  paused: boolean;
  /** A moment, or a range: whole seconds of the epoch; null, all of them: now. */
  at: number | null;
  since: number | null;
  until: number | null;
  detail: { first: number; count: number } | null;
}

/** A column; `cells` is its least width in characters, those of a large `rank` give way first. */
export interface Column {
  name: string;
  title: string;
  meaning: string;
  align: "left" | "right";
  rank: number;
  stretch: number;
  cells: number;
  sortable: boolean;
  rises: boolean;
  traffic: string | null;
  keep_end: boolean;
}

/** `tones` has a character for each cell: d dim, b big, h huge, else plain. */
export interface Row {
  key: Key;
  cells: string[];
  tones: string;
  state?: "exited" | "closed" | "ancestor";
  lead?: string;
}

/** Null is not known. */
export type Point = { t_ms: number } & Record<SeriesName, number | null>;

export interface Warning {
  key: string;
  text: string;
  tone: Tone;
}

export interface ViewMessage {
  type: "view";
  wish: number;
  epoch: string | number;
  seq: number;
  time_ms: number;
  interval_ms: number;
  host: string;
  user: string;
  scope: "all" | "own";
  view: string;
  count: number;
  of: number;
  pinned: number;
  first: number;
  columns?: Column[];
  rows: Row[];
  selected_index: number | null;
  within: (Scope & { label: string })[];
  totals_text: Record<string, string>;
  point: Point | null;
  health: { tone: Tone; text: string; warnings: Warning[]; coverage: string };
  waiting?: boolean;
  past?: Past;
}

/** The time that is shown, and what the host moved in it, in bytes. */
export interface Past {
  since_ms: number;
  until_ms: number;
  range: boolean;
  sums: Record<SeriesName, number | null>;
}

export interface NoPastMessage {
  type: "no_past";
  wish: number;
  message: string;
}

export interface FlowTable {
  count: number;
  waiting: boolean;
  columns?: Column[];
  rows: Row[];
}

export interface Fact {
  name: string;
  label: string;
  text: string;
}

export interface SelectedMessage {
  type: "selected";
  wish: number;
  key: Key;
  gone: boolean;
  title: string;
  facts: Fact[];
  point: Point | null;
  connections: FlowTable | null;
  files: FlowTable | null;
}

export type HistoryMessage = {
  type: "history";
  key: Key | null;
  t_ms: number[];
} & Record<SeriesName, (number | null)[]>;

export interface ErrorMessage {
  type: "error";
  wish: number;
  message: string;
  position: { start: number; end: number } | null;
}

export interface AwayMessage {
  type: "away";
  since_ms: number;
  message: string;
}

export type Message =
  | ViewMessage
  | SelectedMessage
  | HistoryMessage
  | ErrorMessage
  | AwayMessage
  | NoPastMessage;

/** What is kept of the past, of `api/v1/history/state`. */
export interface Kept {
  since: number;
  until: number;
  gaps: { since_ns: number; until_ns: number }[];
}

/** What moved in each step, of `api/v1/history/series`; null is a gap. */
export interface SeriesAnswer {
  since: number;
  until: number;
  step: number;
  recorded_until: number;
  sums: Record<string, (number | null)[]>;
}

/** A time in seconds, and what was not plain about it, as `api/v1/history/moment` reads it. */
export interface Moment {
  at: number;
  remark: string;
}

/** A field of the contract, as `api/v1/fields` has it; of a table, or of its rows' process. */
export interface Field {
  name: string;
  title: string;
  short: string;
  meaning: string;
}

export interface ViewInfo {
  name: string;
  table: string;
  group: boolean;
  tree: boolean;
  columns: Column[];
}

export interface Fields {
  tables: Record<string, Field[]>;
  views: ViewInfo[];
  classes: string[];
}

/** The daemon's report on itself in words, of `api/v1/health`. */
export type Report = { heading: string; entries: { name: string; text: string }[] }[];
