// The curves of the host or of a row: filled from the daemon's history, continued live. Where
// nothing is known there is a null, which the chart shows as a gap.
import { SERIES, type HistoryMessage, type Point, type SeriesName } from "./protocol";

/** What a chart shows at most. */
export const SPAN_MS = 10 * 60 * 1000;
/** Points further apart than this many intervals have a gap between them. */
const GAP_INTERVALS = 2.5;

export interface Sample {
  x: number;
  y: number | null;
}

export type Curves = Readonly<Record<SeriesName, readonly Sample[]>>;

export const NO_CURVES: Curves = { net_rx: [], net_tx: [], file_read: [], file_write: [] };

export function fromHistory(history: HistoryMessage): Curves {
  const made = {} as Record<SeriesName, Sample[]>;
  for (const name of SERIES) {
    made[name] = history.t_ms.map((x, at) => ({ x, y: history[name][at] ?? null }));
  }
  return made;
}

/** Add a point to the curves; one that is no newer than the last changes nothing. */
export function continued(curves: Curves, point: Point, intervalMs: number): Curves {
  const last = curves.net_rx.at(-1)?.x;
  if (last !== undefined && point.t_ms <= last) return curves;
  const gap = last !== undefined && point.t_ms - last > GAP_INTERVALS * intervalMs;
  const made = {} as Record<SeriesName, readonly Sample[]>;
  for (const name of SERIES) {
    const old = curves[name];
    const first = old.findIndex((sample) => sample.x >= point.t_ms - SPAN_MS);
    const kept = first < 0 ? [] : old.slice(first);
    if (gap && kept.length > 0) kept.push({ x: (last ?? 0) + intervalMs, y: null });
    kept.push({ x: point.t_ms, y: point[name] });
    made[name] = kept;
  }
  return made;
}

/** What may lie between two times on an axis, and how many there are at most. */
const STEPS_MS = [15_000, 30_000, 60_000, 120_000, 300_000];
const MOST_TIMES = 5;

/** Whole minutes, or parts of one, between two times. */
export function axisTimes(from: number, to: number): number[] {
  const step = STEPS_MS.find((each) => (to - from) / each <= MOST_TIMES) ?? to - from;
  const times: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) times.push(at);
  return times;
}
