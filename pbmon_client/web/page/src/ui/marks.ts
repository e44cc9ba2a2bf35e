// What a chart shows beside its curves: where nothing is known, and where the tooltip is.
import type { Chart, Plugin } from "chart.js";
import { shown } from "../past";
import { SERIES } from "../protocol";
import { gaps, type Curves, type Sample } from "../series";

/** What the word in a gap has beside it, in px; a narrower gap has no word. */
const ROOM_PX = 14;

function curvesOf(chart: Chart): Curves {
  const sets = SERIES.map((name, at) => [name, chart.data.datasets[at]?.data as Sample[]]);
  return Object.fromEntries(sets) as Curves;
}

/** A band over each time of which nothing is known, with a word for why. */
export const GAPS: Plugin<"line"> = {
  id: "gaps",
  beforeDatasetsDraw(chart) {
    const { ctx, chartArea: area, scales } = chart;
    if (scales.x === undefined) return;
    ctx.save();
    ctx.fillStyle = String(chart.options.color);
    ctx.font = "11px sans-serif";
    ctx.textAlign = "center";
    for (const gap of gaps(curvesOf(chart))) {
      const [from, to] = [gap.from, gap.to].map((time) =>
        Math.min(area.right, Math.max(area.left, scales.x?.getPixelForValue(time) ?? 0)),
      ) as [number, number];
      ctx.globalAlpha = 0.13;
      ctx.fillRect(from, area.top, to - from, area.bottom - area.top);
      ctx.globalAlpha = 1;
      const word = gap.paused ? "paused" : "no data";
      if (ctx.measureText(word).width + ROOM_PX > to - from) continue;
      ctx.fillText(word, (from + to) / 2, (area.top + area.bottom) / 2 + 4);
    }
    ctx.restore();
  },
};

/** The moment or range of the past that the table shows; the colour is the option `borderColor`. */
export const SHOWN: Plugin<"line"> = {
  id: "shown",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea: area, scales } = chart;
    const span = shown.peek();
    if (span === null || scales.x === undefined) return;
    const [left, right] = [span.from, span.to].map((time) => scales.x?.getPixelForValue(time * 1000) ?? 0) as [number, number];
    if (right < area.left || left > area.right) return;
    ctx.save();
    ctx.fillStyle = String(chart.options.borderColor);
    const from = Math.max(area.left, left);
    const to = Math.min(area.right, right);
    ctx.globalAlpha = 0.2;
    if (to - from > 3) ctx.fillRect(from, area.top, to - from, area.bottom - area.top);
    ctx.globalAlpha = 1;
    for (const x of to - from > 3 ? [from, to] : [from]) ctx.fillRect(x - 0.75, area.top, 1.5, area.bottom - area.top);
    ctx.restore();
  },
};

/** A line from top to bottom where the tooltip is. */
export const CROSSHAIR: Plugin<"line"> = {
  id: "crosshair",
  afterDatasetsDraw(chart) {
    const at = chart.tooltip?.getActiveElements()[0]?.element.x;
    if (at === undefined) return;
    const { ctx, chartArea } = chart;
    ctx.save();
    ctx.strokeStyle = String(chart.options.color);
    ctx.globalAlpha = 0.4;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(at, chartArea.top);
    ctx.lineTo(at, chartArea.bottom);
    ctx.stroke();
    ctx.restore();
  },
};
