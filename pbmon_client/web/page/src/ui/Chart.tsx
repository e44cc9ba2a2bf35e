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
import { clock, rate } from "../format";
import { SERIES, type SeriesName } from "../protocol";
import { axisTimes, gaps, SPAN_MS, type Curves, type Sample } from "../series";
import { colours } from "../theme";
import { CROSSHAIR, GAPS } from "./marks";

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
function colourOf(place: HTMLElement, property: string): string {
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
    plugins: [GAPS, CROSSHAIR],
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
            callback: (value) => clock(Number(value)).replace(/:00$/, ""),
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
            title: (items) => (items[0] === undefined ? "" : clock(items[0].parsed.x ?? 0)),
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

function fill(chart: LineCanvas, curves: Curves, hidden: ReadonlySet<SeriesName>): void {
  SERIES.forEach((name, at) => {
    const set = chart.data.datasets[at];
    if (set) Object.assign(set, { data: curves[name], hidden: hidden.has(name) });
  });
  const first = curves.net_rx[0]?.x;
  const last = curves.net_rx.at(-1)?.x;
  const x = chart.options.scales?.x;
  if (x && first !== undefined && last !== undefined) {
    x.max = last;
    x.min = Math.max(last - SPAN_MS, Math.min(first, last - SHORTEST_SPAN_MS));
  }
}

function spoken(what: string, curves: Curves, writing: Writing): string {
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
  const [samples, out] = [curves.value, hidden.value];
  useEffect(() => {
    if (chart.current === null) return;
    fill(chart.current, samples, out);
    chart.current.update("none");
  }, [samples, out, theme, bits, binary]);
  return <canvas ref={canvas} role="img" aria-label={spoken(what, samples, writing.current)} />;
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
