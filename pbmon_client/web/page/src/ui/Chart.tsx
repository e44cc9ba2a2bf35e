// A chart of four curves, in words and on a canvas, and a legend that toggles.
import type { ReadonlySignal, Signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { change } from "../actions";
import { clock, rate, stamp } from "../format";
import { painted } from "../painted";
import { chartSpan, kept, shown, type Span } from "../past";
import { SERIES, type SeriesName } from "../protocol";
import { SPANS } from "../settings";
import { settings } from "../state";
import { gaps, SERIES_WORDS, type Curves } from "../series";
import { colours } from "../theme";
import type { LineCanvas, Writing } from "./canvas";

const DRAWING = painted.then(() => import("./canvas"));
type Drawing = Awaited<typeof DRAWING>;

function spoken(what: string, curves: Curves, writing: Writing, span: Span | null): string {
  if (span !== null) return spokenPast(what, curves, writing, span);
  const now = SERIES.map((name) => {
    const value = curves[name].at(-1)?.y ?? null;
    const words = value === null ? "not known" : `${rate(value, writing)} ${writing.bits ? "bits" : "bytes"} per second`;
    return `${SERIES_WORDS[name].toLowerCase()} ${words}`;
  });
  const [first, last] = [curves.net_rx[0], curves.net_rx.at(-1)];
  if (first === undefined || last === undefined) return `${what}: nothing is known yet.`;
  const without = gaps(curves).map(
    ({ from, to, paused }) => ` ${paused ? "Paused" : "No data"} from ${clock(from)} to ${clock(to)}.`,
  );
  const when = `from ${clock(first.x)} to ${clock(last.x)}`;
  return `${what} ${when}. Now: ${now.join(", ")}.${without.join("")}`;
}

function spokenPast(what: string, curves: Curves, writing: Writing, span: Span): string {
  const most = SERIES.map((name) => {
    const value = curves[name].reduce<number | null>((top, { y }) => (y === null ? top : Math.max(top ?? 0, y)), null);
    return `${SERIES_WORDS[name].toLowerCase()} ${value === null ? "not known" : `${rate(value, writing)} ${writing.bits ? "bits" : "bytes"} per second`}`;
  });
  const without = gaps(curves).map(({ from, to }) => ` No data from ${stamp(from)} to ${stamp(to)}.`);
  return `${what} from ${stamp(span.from * 1000)} to ${stamp(span.to * 1000)}. At most: ${most.join(", ")}.${without.join("")}`;
}

const CHART_SPANS = [[0, "Live", "The last minutes"] as const, ...SPANS.slice(0, 4)];

/** How much time the charts show. */
export function ChartSpan() {
  if (kept.value === null) return null;
  return (
    <div class="pair spans" role="group" aria-label="The charts show">
      {CHART_SPANS.map(([seconds, word, words]) => (
        <button key={seconds} type="button" title={words} aria-pressed={settings.value.chart === seconds} onClick={() => change({ chart: seconds })}>
          {seconds === 0 && chartSpan.value !== null && settings.value.chart === 0 ? "10 m" : word}
        </button>
      ))}
    </div>
  );
}

interface ChartProps extends Writing {
  curves: ReadonlySignal<Curves>;
  hidden: ReadonlySignal<ReadonlySet<SeriesName>>;
  what: string;
}

export function Chart({ curves, hidden, what, bits, binary }: ChartProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const chart = useRef<LineCanvas | null>(null);
  const writing = useRef<Writing>({ bits, binary });
  writing.current = { bits, binary };
  const [drawing, setDrawing] = useState<Drawing | null>(null);
  useEffect(() => {
    let isHere = true;
    void DRAWING.then((loaded) => isHere && setDrawing(loaded));
    return () => {
      isHere = false;
    };
  }, []);
  useEffect(() => {
    if (drawing === null || canvas.current === null) return undefined;
    const mine = drawing.made(canvas.current, writing);
    chart.current = mine;
    return () => mine.destroy();
  }, [drawing]);
  const theme = colours.value;
  useEffect(() => {
    const place = canvas.current?.parentElement;
    if (chart.current && place) drawing?.paint(chart.current, place);
  }, [drawing, theme]);
  const [samples, out, span, time] = [curves.value, hidden.value, chartSpan.value, shown.value];
  useEffect(() => {
    if (chart.current === null) return;
    drawing?.fill(chart.current, samples, out, span);
    chart.current.update("none");
  }, [drawing, samples, out, span, time, theme, bits, binary]);
  return <canvas ref={canvas} role="img" aria-label={spoken(what, samples, writing.current, span)} />;
}

interface LegendProps {
  class: string;
  hidden: Signal<ReadonlySet<SeriesName>>;
  numbers: (name: SeriesName) => string;
  unit: string;
}

export function Legend({ class: style, hidden, numbers, unit }: LegendProps) {
  function toggle(name: SeriesName): void {
    const next = new Set(hidden.value);
    if (!next.delete(name)) next.add(name);
    hidden.value = next;
  }
  return (
    <div class={`legend ${style}`} role="group" aria-label="Curves shown">
      {SERIES.map((name) => (
        <button
          key={name}
          type="button"
          class={name}
          aria-pressed={!hidden.value.has(name)}
          onClick={() => toggle(name)}
        >
          <span class="label">{SERIES_WORDS[name]}</span>
          <span class="value">
            {numbers(name)}
            <small> {unit}</small>
          </span>
        </button>
      ))}
    </div>
  );
}
