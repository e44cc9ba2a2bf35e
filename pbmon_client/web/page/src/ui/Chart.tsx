// A chart of four curves on a canvas, one tooltip over all of them, and a legend that toggles.
import type { ReadonlySignal, Signal } from "@preact/signals";
import {
  Chart as Canvas,
  Filler,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
  type ChartDataset,
  type ScriptableContext,
} from "chart.js";
import { useEffect, useRef } from "preact/hooks";
import { change } from "../actions";
import { clock, rate, stamp } from "../format";
import { chartSpan, kept, shown, type Span } from "../past";
import { SERIES, type SeriesName } from "../protocol";
import { SPANS } from "../settings";
import { settings } from "../state";
import { axisTimes, gaps, SPAN_MS, type Curves, type Sample } from "../series";
import { colours } from "../theme";
import { CROSSHAIR, GAPS, SHOWN } from "./marks";

Canvas.register(Filler, LinearScale, LineController, LineElement, PointElement, Tooltip);

export const SERIES_WORDS: Record<SeriesName, string> = {
  net_rx: "Net in",
  net_tx: "Net out",
  file_read: "File read",
  file_write: "File write",
};
/** A chart that has just begun is this wide. */
const SHORTEST_SPAN_MS = 60_000;

type LineCanvas = Canvas<"line", Sample[]>;

/** What a custom property's colour is now; the canvas knows no custom properties. */
export function colourOf(place: HTMLElement, property: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  place.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** The colour below a curve: less and less of it towards the bottom. */
function fading(colour: string): (context: ScriptableContext<"line">) => CanvasGradient | string {
  const [top, bottom] = [0.22, 0].map((alpha) => colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`));
  return ({ chart: { ctx, chartArea } }) => {
    if (chartArea === undefined) return "transparent";
    const made = ctx.createLinearGradient(0, chartArea.top, 0, chartArea.bottom);
    made.addColorStop(0, top ?? colour);
    made.addColorStop(1, bottom ?? colour);
    return made;
  };
}

function dataset(name: SeriesName): ChartDataset<"line", Sample[]> {
  return {
    label: SERIES_WORDS[name],
    data: [],
    borderWidth: 1.6,
    pointRadius: 0,
    pointHoverRadius: 3,
    pointHitRadius: 0,
    fill: "origin",
    spanGaps: false,
    borderJoinStyle: "round",
  };
}

/** A day at its midnight, else the time. */
function axisWords(time: number): string {
  const words = clock(time).replace(/:00$/, "");
  return words === "00:00" ? stamp(time).split(" ").slice(0, 2).join(" ").replace(",", "") : words;
}

/** A time, with its day if it is not one of the last hours. */
function when(time: number): string {
  return Math.abs(Date.now() - time) < 43_200_000 ? clock(time) : stamp(time);
}

interface Writing {
  bits: boolean;
  binary: boolean;
}

function made(canvas: HTMLCanvasElement, writing: { current: Writing }): LineCanvas {
  const written = (value: number | null): string => rate(value, writing.current);
  const unit = (): string => (writing.current.bits ? "bit/s" : "B/s");
  return new Canvas<"line", Sample[]>(canvas, {
    type: "line",
    data: { datasets: SERIES.map(dataset) },
    plugins: [GAPS, SHOWN, CROSSHAIR],
    options: {
      animation: false,
      parsing: false,
      normalized: true,
      responsive: true,
      maintainAspectRatio: false,
      events: ["mousemove", "mouseout", "click", "touchstart", "touchmove"],
      interaction: { mode: "index", axis: "x", intersect: false },
      layout: { padding: { top: 6, right: 2 } },
      scales: {
        x: {
          type: "linear",
          border: { display: false },
          grid: { display: false },
          afterBuildTicks: (scale) => {
            scale.ticks = axisTimes(scale.min, scale.max).map((value) => ({ value }));
          },
          ticks: {
            maxRotation: 0,
            font: { size: 10.5 },
            callback: (value) => axisWords(Number(value)),
          },
        },
        y: {
          beginAtZero: true,
          suggestedMax: 1000,
          border: { display: false },
          ticks: {
            maxTicksLimit: 4,
            font: { size: 10.5 },
            padding: 8,
            callback: (value) => written(Number(value)).replace(".0", ""),
          },
          afterFit: (scale) => {
            scale.width = 52; // numbers of any length leave the curves where they are
          },
        },
      },
      plugins: {
        tooltip: {
          boxPadding: 5,
          padding: 10,
          caretSize: 0,
          cornerRadius: 8,
          borderWidth: 1,
          callbacks: {
            title: (items) => (items[0] === undefined ? "" : when(items[0].parsed.x ?? 0)),
            label: (item) => `${item.dataset.label}  ${written(item.parsed.y)} ${unit()}`,
          },
        },
      },
    },
  });
}

function paint(chart: LineCanvas, place: HTMLElement): void {
  const { options } = chart;
  const [text, dim, rule, box] = ["--text", "--dim", "--rule", "--raised"].map((property) =>
    colourOf(place, property),
  ) as [string, string, string, string];
  options.color = dim;
  options.borderColor = colourOf(place, "--past");
  for (const name of ["x", "y"] as const) {
    const scale = options.scales?.[name];
    if (scale?.ticks) scale.ticks.color = dim;
    if (scale?.grid) scale.grid.color = rule;
  }
  const y = options.scales?.y;
  if (y) y.grid = { color: rule, drawTicks: false };
  const tooltip = options.plugins?.tooltip;
  if (tooltip) {
    Object.assign(tooltip, {
      backgroundColor: box,
      borderColor: rule,
      titleColor: text,
      bodyColor: text,
    });
  }
  SERIES.forEach((name, at) => {
    const colour = colourOf(place, `--${name.replace("_", "-")}`);
    const set = chart.data.datasets[at];
    if (set) Object.assign(set, { borderColor: colour, backgroundColor: fading(colour) });
  });
}

function fill(chart: LineCanvas, curves: Curves, hidden: ReadonlySet<SeriesName>, span: Span | null): void {
  SERIES.forEach((name, at) => {
    const set = chart.data.datasets[at];
    if (set) Object.assign(set, { data: curves[name], hidden: hidden.has(name) });
  });
  const first = curves.net_rx[0]?.x;
  const last = curves.net_rx.at(-1)?.x;
  const x = chart.options.scales?.x;
  if (x && span !== null) {
    x.min = span.from * 1000;
    x.max = span.to * 1000;
  } else if (x && first !== undefined && last !== undefined) {
    x.max = last;
    x.min = Math.max(last - SPAN_MS, Math.min(first, last - SHORTEST_SPAN_MS));
  }
}

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
  useEffect(() => {
    if (canvas.current === null) return undefined;
    const mine = made(canvas.current, writing);
    chart.current = mine;
    return () => mine.destroy();
  }, []);
  const theme = colours.value;
  useEffect(() => {
    const place = canvas.current?.parentElement;
    if (chart.current && place) paint(chart.current, place);
  }, [theme]);
  const [samples, out, span, time] = [curves.value, hidden.value, chartSpan.value, shown.value];
  useEffect(() => {
    if (chart.current === null) return;
    fill(chart.current, samples, out, span);
    chart.current.update("none");
  }, [samples, out, span, time, theme, bits, binary]);
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
