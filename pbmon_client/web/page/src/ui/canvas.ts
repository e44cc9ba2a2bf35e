// Draws a chart of four curves on a canvas, with one tooltip over all of them. It brings Chart.js,
// which is most of the page's script: it is loaded when the first rows have been painted.
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
import { clock, rate, stamp } from "../format";
import type { Span } from "../past";
import { SERIES, type SeriesName } from "../protocol";
import { axisTimes, SERIES_WORDS, SPAN_MS, type Curves, type Sample } from "../series";
import { colourOf } from "../theme";
import { CROSSHAIR, GAPS, SHOWN } from "./marks";

Canvas.register(Filler, LinearScale, LineController, LineElement, PointElement, Tooltip);

/** A chart that has just begun is this wide. */
const SHORTEST_SPAN_MS = 60_000;

export type LineCanvas = Canvas<"line", Sample[]>;

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

export interface Writing {
  bits: boolean;
  binary: boolean;
}

export function made(canvas: HTMLCanvasElement, writing: { current: Writing }): LineCanvas {
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

export function paint(chart: LineCanvas, place: HTMLElement): void {
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

export function fill(chart: LineCanvas, curves: Curves, hidden: ReadonlySet<SeriesName>, span: Span | null): void {
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
