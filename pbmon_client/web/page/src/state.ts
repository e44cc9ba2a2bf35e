// What the page knows and wants, as signals. What changes it is in actions.ts and receive.ts.
import { computed, signal } from "@preact/signals";
import { read, type Place } from "./address";
import { fitting } from "./columns";
import type {
  Column,
  Fields,
  Key,
  SelectedMessage,
  Units,
  ViewMessage,
  Wish,
} from "./protocol";
import { NOTHING_KNOWN, type Known } from "./rows";
import { NO_CURVES, type Curves } from "./series";
import { load } from "./settings";

// --- wanted -----------------------------------------------------------------------------------

export const place = signal<Place>(read(location.hash));
export const settings = signal(load());
export const pinned = signal<Key[]>([]);
export const paused = signal(false);
/** When, by the clock of the snapshots, the page was paused last. */
export const pausedMs = signal<number | null>(null);
/** The rows in sight and some around them. */
export const range = signal({ first: 0, count: 60 });
/** The width of the table, in px. */
export const width = signal(0);
export type DialogName = "help" | "columns" | "health" | "time";
/** For a moment after the address was copied. */
export const copied = signal(false);
export const dialog = signal<DialogName | null>(null);
/** On a narrow screen the selected row's details cover the table while this is set. */
export const opened = signal(false);
/** The details take the focus as soon as they are there. */
export const entering = signal(false);

// --- known ------------------------------------------------------------------------------------

export const fields = signal<Fields | null>(null);
export const view = signal<ViewMessage | null>(null);
/** The columns of the rows that are known. */
export const columns = signal<Column[]>([]);
export const known = signal<Known>(NOTHING_KNOWN);
export const selected = signal<SelectedMessage | null>(null);
export const flowColumns = signal<Record<"connections" | "files", Column[]>>({
  connections: [],
  files: [],
});
export const hostCurves = signal<Curves>(NO_CURVES);
export const rowCurves = signal<Curves>(NO_CURVES);
/** What is wrong with the filter, in the server's words. */
export const mistake = signal<string | null>(null);
/** A filter that was refused, and the one that the rows are narrowed by meanwhile. */
export const refused = signal<string | null>(null);
export const goodFilter = signal("");

export interface Away {
  sinceMs: number;
  message: string;
}
export const away = signal<Away | null>(null);

// --- derived ----------------------------------------------------------------------------------

// For the lines of the table, which would otherwise be made anew with every change of the place.
export const selectedKey = computed(() => place.value.selected);
export const totals = computed(() => place.value.totals);

export const viewInfo = computed(
  () => fields.value?.views.find((info) => info.name === place.value.view) ?? null,
);

/** Every column that the view can show: its own, then the other fields of its table. */
export const offered = computed<Column[]>(() => {
  const info = viewInfo.value;
  if (info === null) return [];
  const names = new Set(info.columns.map((column) => column.name));
  const fieldsOf = info.group ? [] : (fields.value?.tables[info.table] ?? []);
  const others = fieldsOf.filter((field) => !names.has(field.name));
  return [...info.columns, ...others.map((field) => ({
    name: field.name,
    title: field.short,
    meaning: field.meaning,
    align: "left" as const,
    rank: 1, // somebody asked for it
    stretch: 0,
    cells: 10,
    sortable: true,
    rises: true,
    traffic: null,
    keep_end: false,
  }))];
});

/** The columns that are wanted and have room. */
export const wanted = computed<Column[]>(() => {
  const name = place.value.view;
  const { classes, hidden, added } = settings.value;
  const usual = new Set(viewInfo.value?.columns.map((column) => column.name));
  const chosen = offered.value.filter((column) =>
    usual.has(column.name)
      ? !hidden[name]?.includes(column.name) && !classes.includes(column.traffic ?? "")
      : added[name]?.includes(column.name),
  );
  return fitting(chosen, { width: width.value, exact: place.value.exact });
});

export const units = computed<Units>(() => {
  const { totals, bits, binary, exact } = place.value;
  return { totals, bits, binary, exact };
});

/** What orders and narrows the rows, and what is told of each. */
const arranged = computed(() => ({
  view: place.value.view as string,
  filter: place.value.filter === refused.value ? goodFilter.value : place.value.filter,
  active: place.value.active,
  sort: place.value.sort ?? "busiest",
  reverse: place.value.reverse,
  hidden: settings.value.classes,
  within: place.value.within === null ? [] : [
    { view: place.value.within.view, key: place.value.within.key },
  ],
  columns: wanted.value.map((column) => column.name),
  units: units.value,
  pinned: pinned.value,
  at: null as number | null,
  since: null as number | null,
  until: null as number | null,
  ...place.value.time,
}));

export const arrangement = computed(() => JSON.stringify(arranged.value));

/** Whether other rows than those that are known were asked for, and will come. */
export const busy = computed(() => {
  if (mistake.value !== null || noPast.value !== null) return false;
  if (away.value !== null) return false;
  return known.value.arrangement !== arrangement.value || view.value?.waiting === true;
});

const FLOWS_SHOWN = 60;

/** The wish, but for its number; null while it is not known what could be wished for. */
export const wish = computed<Omit<Wish, "wish"> | null>(() => {
  if (fields.value === null || width.value === 0) return null;
  const shown = settings.value.detail || opened.value;
  return {
    ...arranged.value,
    window: range.value,
    selected: place.value.selected,
    paused: paused.value,
    detail: shown ? { first: 0, count: FLOWS_SHOWN } : null,
  };
});

/** The time that is shown, if it is not now. */
export const past = computed(() =>
  place.value.time === null ? null : (view.value?.past ?? null),
);
/** Why the past that was asked for cannot be shown. */
export const noPast = signal<string | null>(null);

export const notices = computed(
  () => view.value?.health.warnings.filter(({ key }) => !settings.value.seen.includes(key)) ?? [],
);

