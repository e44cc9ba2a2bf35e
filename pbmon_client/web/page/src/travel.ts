// Going to a time and back, and marking a range.
import { signal } from "@preact/signals";
import type { Time } from "./address";
import { change, go } from "./actions";
import { kept, newest } from "./past";
import { SPANS } from "./settings";
import * as state from "./state";

/** Where a range begins that is being marked; its other end is the time shown. */
export const marking = signal<number | null>(null);
/** Totals were put on for a range, and go off with it. */
let summing = false;

/** Show a time; null is now. A range sums up, so it is shown in totals. */
export function travel(time: Time, step = false): void {
  const isRange = time !== null && "since" in time;
  const change: Parameters<typeof go>[0] = { time };
  if (isRange && !state.place.value.totals) {
    change.totals = true;
    summing = true;
  } else if (!isRange && summing) {
    change.totals = false;
    summing = false;
  }
  if (time === null) {
    marking.value = null;
    state.noPast.value = null;
  }
  go(change, step);
}

function within(seconds: number): number {
  const first = kept.value?.since ?? 0;
  return Math.max(first, Math.min(newest.value - 1, Math.floor(seconds)));
}

/** Show a moment, or while a range is marked, the range to there. */
export function visit(seconds: number, step = false): void {
  const at = within(seconds);
  const mark = marking.value;
  if (mark === null || mark === at) travel({ at }, step);
  else travel({ since: Math.min(mark, at), until: Math.max(mark, at) + 1 }, step);
}

/** The time that moves: the moment, or the end of a range that is not its mark. */
export function cursor(): number {
  const { time } = state.place.value;
  if (time === null) return newest.value;
  if ("at" in time) return time.at;
  return marking.value === time.since ? time.until - 1 : time.since;
}

/** Go so many intervals on; those of a range are as long as it is. */
function step(count: number): void {
  const { time } = state.place.value;
  if (kept.value === null) return;
  if (time !== null && "since" in time && marking.value === null) {
    const by = count * (time.until - time.since);
    travel({ since: time.since + by, until: time.until + by });
    return;
  }
  const shown = state.past.value;
  const width = shown === null || shown.range ? 1 : Math.max(1, Math.round((shown.until_ms - shown.since_ms) / 1000));
  const known = shown !== null && !shown.range && state.view.value !== null && !state.busy.value;
  const [from, to] = known
    ? [Math.round(shown.since_ms / 1000), Math.round(shown.until_ms / 1000)]
    : [cursor(), cursor() + width];
  visit(count > 0 ? to + (count - 1) * width : from - 1 + (count + 1) * width);
}

export function mark(): void {
  if (kept.value === null) return;
  if (marking.value === null) {
    const at = within(cursor());
    marking.value = at;
    if (state.place.value.time === null) visit(at, true);
  } else marking.value = null;
}

function zoom(by: 1 | -1): void {
  const at = SPANS.findIndex(([span]) => span === state.settings.value.line);
  const next = SPANS[at + by];
  if (next !== undefined) change({ line: next[0] });
}

export const TRAVEL: Record<string, (key: string) => void> = {
  time: () => {
    if (kept.value !== null) state.dialog.value = "time";
  },
  "step back": () => step(-1),
  "step forth": () => step(1),
  "steps back": () => step(-10),
  "steps forth": () => step(10),
  mark: () => mark(),
  "zoom in": () => zoom(-1),
  "zoom out": () => zoom(1),
  live: () => travel(null, true),
};
