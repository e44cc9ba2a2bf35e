// The past beside the table: what is kept, the timeline, and the curves of the charts.
import { computed, effect, signal } from "@preact/signals";
import { isAt } from "./address";
import { SERIES, type Kept, type Moment, type SeriesAnswer, type SeriesName } from "./protocol";
import { fromSeries, NO_CURVES, type Curves } from "./series";
import * as state from "./state";

export const kept = signal<Kept | null>(null);
/** Why there is no timeline. */
export const unkept = signal<string | null>(null);

/** Times in seconds, without the end. */
export interface Span {
  from: number;
  to: number;
}

const STEPS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600];
const TIMELINE_STEPS = 420;
const CHART_STEPS = 360;
/** A live chart of minutes, looked at in the past. */
const MINUTES = 600;
const KEPT_EVERY_MS = 30_000;
const ASK_AFTER_MS = 120;

/** The newest second: of what is recorded, or of what the daemon said last. */
export const newest = computed(() => {
  const live = state.view.value?.past === undefined ? state.view.value?.time_ms : undefined;
  return Math.max(kept.value?.until ?? 0, Math.floor((live ?? 0) / 1000));
});

/** The middle of the time that is shown; null is now. */
function middle(): number | null {
  const { time } = state.place.value;
  if (time === null) return null;
  return "at" in time ? time.at : (time.since + time.until) / 2;
}

/** The time that is shown, or was asked for; null is now. */
export const shown = computed<Span | null>(() => {
  const { time } = state.place.value;
  if (time === null) return null;
  return "at" in time ? { from: time.at, to: time.at + 1 } : { from: time.since, to: time.until };
});

/** So much time around the middle, up to now; it moves in steps, so that scrubbing asks little. */
function around(span: number): Span {
  const now = newest.value;
  const at = middle();
  const step = span / 4;
  const end = at === null ? now : Math.min(now, Math.round(at / step) * step + span / 2);
  return { from: Math.floor(end - span), to: Math.ceil(end) };
}

/** The timeline stays where it is while the time shown is in it. */
let last: Span | null = null;
export const line = computed<Span>(() => {
  const span = state.settings.value.line;
  const at = middle();
  const now = newest.value;
  const isIn = last !== null && at !== null && at >= last.from && at < last.to;
  if (isIn && last !== null && last.to - last.from === span) return last;
  last = at !== null && at >= now - span ? { from: now - span, to: now } : around(span);
  return last;
});

/** What the charts show, null where they are live. */
export const chartSpan = computed<Span | null>(() => {
  const { time } = state.place.value;
  const { chart } = state.settings.value;
  if (kept.value === null || (chart === 0 && time === null)) return null;
  const range = time !== null && "since" in time ? time : null;
  const span = chart || MINUTES;
  if (range === null || range.until - range.since <= span / 4) return around(span);
  const beside = Math.max(span - (range.until - range.since), (range.until - range.since) / 4) / 2;
  const to = Math.min(newest.value, range.until + beside);
  return { from: Math.floor(range.since - beside), to: Math.ceil(to) };
});

function stepOf(span: Span, most: number): number {
  return STEPS.find((step) => (span.to - span.from) / step <= most) ?? 86_400;
}

const OF_PROCESSES: Record<SeriesName, string | null> = {
  net_rx: "net_rx_bytes",
  net_tx: "net_tx_bytes",
  file_read: "file_read_bytes",
  file_write: "file_write_bytes",
};
const COUNTERS: Record<string, Record<SeriesName, string | null>> = {
  processes: OF_PROCESSES,
  connections: { net_rx: "rx_bytes", net_tx: "tx_bytes", file_read: null, file_write: null },
  files: { net_rx: null, net_tx: null, file_read: "read_bytes", file_write: "write_bytes" },
};

async function ask<Answer>(path: string): Promise<Answer | string> {
  try {
    const answer = await fetch(new URL(`api/v1/${path}`, document.baseURI));
    if (answer.ok) return (await answer.json()) as Answer;
    return ((await answer.json()) as { detail: string }).detail;
  } catch {
    return "the server of this page does not answer";
  }
}

/** The time that was typed last. */
const typed = signal<Moment | null>(null);

/** What was not plain about the time that was typed, while it is shown; "" is nothing. */
export const remark = computed(() => {
  const { time } = state.place.value;
  return typed.value !== null && isAt(time, typed.value.at) ? typed.value.remark : "";
});

/** The browser's words for a time, read as the server does: seconds, or what is wrong. */
export async function readTime(text: string): Promise<number | string> {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const found = await ask<Moment>(`history/moment?${new URLSearchParams({ text, zone })}`);
  if (typeof found === "string") return found;
  typed.value = found;
  return found.at;
}

interface Source {
  span: () => { span: Span; steps: number } | null;
  whose: () => { parts: Record<string, string>; table: string } | null;
  curves: { value: Curves };
}

/** Keep some curves as what is shown asks for them. */
function follow({ span, whose, curves }: Source): void {
  let asked = "";
  let timer: number | undefined;
  effect(() => {
    const wanted = kept.value === null ? null : span();
    const of = whose();
    const parts = of === null || wanted === null ? null : new URLSearchParams({
      since: String(wanted.span.from).padStart(10, "0"),
      until: String(wanted.span.to).padStart(10, "0"),
      step: String(stepOf(wanted.span, wanted.steps)),
      fields: SERIES.flatMap((name) => COUNTERS[of.table]?.[name] ?? []).join(),
      ...of.parts,
    });
    const step = Number(parts?.get("step") ?? 1);
    // While it goes on, a newer end is asked for when it has another step.
    const text = parts === null ? "" : `${parts}`.replace(/(since|until)=(\d+)/g, (_all, name, at) =>
      `${name}=${Math.floor(Number(at) / Math.max(step, 5))}`,
    );
    if (text === asked) return;
    const before = asked.replace(/(since|until)=\d+/g, "");
    if (text === "" || before !== text.replace(/(since|until)=\d+/g, "")) curves.value = NO_CURVES;
    asked = text;
    clearTimeout(timer);
    if (parts === null || of === null) return;
    timer = window.setTimeout(async () => {
      const found = await ask<SeriesAnswer>(`history/series?${parts}`);
      if (asked !== text) return;
      const names = COUNTERS[of.table] ?? OF_PROCESSES;
      curves.value = typeof found === "string" ? NO_CURVES : fromSeries(found, names);
    }, ASK_AFTER_MS);
  });
}

export const lineCurves = signal<Curves>(NO_CURVES);
const hostPast = signal<Curves>(NO_CURVES);
const rowPast = signal<Curves>(NO_CURVES);

export const hostCurves = computed(() =>
  chartSpan.value === null ? state.hostCurves.value : hostPast.value,
);
export const rowCurves = computed(() =>
  chartSpan.value === null ? state.rowCurves.value : rowPast.value,
);

const HOST = { parts: {}, table: "processes" };

function ofRow(): { parts: Record<string, string>; table: string } | null {
  const { view, selected } = state.place.value;
  const table = state.viewInfo.value?.table;
  if (selected === null || table === undefined) return null;
  return { parts: { view, key: selected }, table };
}

async function askKept(): Promise<void> {
  const found = await ask<{ kept: Kept | null; why: string | null }>("history/state");
  if (typeof found === "string") return; // the server is away: what is known stays
  unkept.value = found.why;
  kept.value = found.kept;
}

export function start(): void {
  const chart = () => (chartSpan.value === null ? null : { span: chartSpan.value, steps: CHART_STEPS });
  follow({ span: () => ({ span: line.value, steps: TIMELINE_STEPS }), whose: () => HOST, curves: lineCurves });
  follow({ span: chart, whose: () => HOST, curves: hostPast });
  follow({ span: chart, whose: ofRow, curves: rowPast });
  void askKept();
  setInterval(() => void askKept(), KEPT_EVERY_MS);
}
