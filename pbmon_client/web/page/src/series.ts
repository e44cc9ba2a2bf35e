// The curves of the host or of a row: filled from the daemon's history, continued live. Where
// nothing is known there is a null, which the chart shows as a gap.
import { SERIES, type HistoryMessage, type Point, type SeriesAnswer, type SeriesName } from "./protocol";

export const SERIES_WORDS: Record<SeriesName, string> = {
  net_rx: "Net in",
  net_tx: "Net out",
  file_read: "File read",
  file_write: "File write",
};

/** What a chart shows at most. */
export const SPAN_MS = 10 * 60 * 1000;
/** Points further apart than this many intervals have a gap between them. */
const GAP_INTERVALS = 2.5;

export interface Sample {
  x: number;
  y: number | null;
  /** Where nothing is known: whether that is because the page was paused. */
  paused?: boolean;
}

export type Curves = Readonly<Record<SeriesName, readonly Sample[]>>;

export const NO_CURVES: Curves = { net_rx: [], net_tx: [], file_read: [], file_write: [] };

/** The daemon's history, after what was known of the time before it: a daemon that has just
 * begun knows less than the page. */
export function fromHistory(history: HistoryMessage, before: Curves = NO_CURVES): Curves {
  const { t_ms: times } = history;
  const start = times.findIndex((_, at) => SERIES.some((name) => history[name][at] != null));
  const begin = times[Math.max(0, start)] ?? 0;
  const step = (times[1] ?? 1000) - (times[0] ?? 0);
  const made = {} as Record<SeriesName, Sample[]>;
  for (const name of SERIES) {
    const older = before[name].filter((sample) => sample.x < begin);
    const last = older.at(-1);
    if (last && begin - last.x > GAP_INTERVALS * step) older.push({ x: last.x + step, y: null });
    const from = last === undefined ? 0 : Math.max(0, start);
    const newer = times.slice(from).map((x, at) => ({ x, y: history[name][from + at] ?? null }));
    made[name] = [...older, ...newer];
  }
  return made;
}

/** Add a point to the curves; one that is no newer than the last changes nothing. A gap that
 * begins about when the page was paused last, `pausedMs`, is a pause. */
export function continued(
  curves: Curves,
  point: Point,
  intervalMs: number,
  pausedMs: number | null = null,
): Curves {
  const last = curves.net_rx.at(-1)?.x;
  if (last !== undefined && point.t_ms <= last) return curves;
  const longest = GAP_INTERVALS * intervalMs;
  const gap = last !== undefined && point.t_ms - last > longest;
  const paused = gap && pausedMs !== null && Math.abs(last - pausedMs) <= longest;
  const made = {} as Record<SeriesName, readonly Sample[]>;
  for (const name of SERIES) {
    const old = curves[name];
    const first = old.findIndex((sample) => sample.x >= point.t_ms - SPAN_MS);
    const kept = first < 0 ? [] : old.slice(first);
    if (gap && kept.length > 0) kept.push({ x: last + intervalMs, y: null, paused });
    kept.push({ x: point.t_ms, y: point[name] });
    made[name] = kept;
  }
  return made;
}

export interface Gap {
  from: number;
  to: number;
  paused: boolean;
}

/** The times between two known points of which nothing is known. */
export function gaps(curves: Curves): Gap[] {
  const made: Gap[] = [];
  let from: number | null = null;
  let paused: boolean | null = null; // null outside a gap
  curves.net_rx.forEach((sample, at) => {
    if (SERIES.every((name) => curves[name][at]?.y == null)) {
      paused = (paused ?? false) || sample.paused === true;
      return;
    }
    if (paused !== null && from !== null) made.push({ from, to: sample.x, paused });
    from = sample.x;
    paused = null;
  });
  return made;
}

/** What may lie between two times on an axis, and how many there are at most. */
const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];
const STEPS_MS = [
  ...[15_000, 30_000, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE],
  ...[HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY],
];
const MOST_TIMES = 5;

/** Whole minutes, hours or days by the local clock, or parts of one, between two times. */
export function axisTimes(from: number, to: number, most = MOST_TIMES): number[] {
  const step = STEPS_MS.find((each) => (to - from) / each <= most) ?? to - from;
  const times: number[] = [];
  for (let at = Math.ceil(from / step) * step - step; at <= to + step; at += step) {
    // Hours and days begin with the local clock's, whatever the season.
    const shift = step >= HOUR ? (new Date(at).getTimezoneOffset() * MINUTE) % step : 0;
    const time = at + shift;
    if (time >= from && time <= to && time !== times.at(-1)) times.push(time);
  }
  return times;
}

/** The curves of a series: each point in the middle of its step, as bytes/s. The newest step is
 * left out while it is being recorded. `names` are the counters by the curves' names. */
export function fromSeries(
  answer: SeriesAnswer,
  names: Readonly<Record<SeriesName, string | null>>,
): Curves {
  const made = {} as Record<SeriesName, Sample[]>;
  for (const name of SERIES) {
    const counter = names[name];
    const sums = counter === null ? [] : (answer.sums[counter] ?? []);
    const steps = (answer.until - answer.since) / answer.step;
    made[name] = Array.from({ length: steps }, (_, at) => {
      const begin = answer.since + at * answer.step;
      const whole = begin + answer.step <= answer.recorded_until;
      const sum = whole ? (sums[at] ?? null) : null;
      return { x: (begin + answer.step / 2) * 1000, y: sum === null ? null : sum / answer.step };
    });
  }
  return made;
}
