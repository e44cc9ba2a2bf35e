// Draws the timeline: bytes over time, gaps, days, the range or moment that is shown.
import { clock } from "../format";
import type { Span } from "../past";
import { axisTimes, type Curves } from "../series";
import { SERIES, type Kept } from "../protocol";

export interface Strip {
  span: Span;
  curves: Curves;
  kept: Kept;
  shown: Span | null;
  colours: Record<"area" | "edge" | "dim" | "rule" | "cursor", string>;
}

const LABEL_PX = 74;
const FOOT_PX = 15;

let day: Intl.DateTimeFormat | undefined;

/** A midnight as its day, another time without its seconds. */
function label(time: number, isMidnight: boolean): string {
  day ??= new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric" });
  return isMidnight ? day.format(time) : clock(time).slice(0, 5);
}

/** All bytes/s at each point; null is a gap. */
export function totals(curves: Curves): { x: number; y: number | null }[] {
  return curves.net_rx.map(({ x }, at) => {
    const parts = SERIES.map((name) => curves[name][at]?.y ?? null);
    const known = parts.filter((part) => part !== null);
    return { x, y: known.length === 0 ? null : known.reduce((sum, part) => sum + part, 0) };
  });
}

/** What is not recorded of a span. */
export function holes(kept: Kept, span: Span): Span[] {
  const gaps = kept.gaps.map((gap) => ({ from: gap.since_ns / 1e9, to: gap.until_ns / 1e9 }));
  return [{ from: span.from, to: kept.since }, ...gaps].filter(
    (gap) => gap.to > span.from && gap.from < span.to && gap.to > gap.from,
  );
}

/** The height of a point: by its square root, so that quiet hours are seen beside a backup. */
function heights(points: { x: number; y: number | null }[]): (number | null)[] {
  const most = Math.max(1, ...points.map((point) => point.y ?? 0));
  return points.map((point) => (point.y === null ? null : Math.sqrt(point.y / most)));
}

export function draw(canvas: HTMLCanvasElement, strip: Strip): void {
  const scale = window.devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const ctx = canvas.getContext("2d");
  if (ctx === null) return;
  ctx.scale(scale, scale);
  const { span, colours } = strip;
  const floor = height - FOOT_PX;
  const place = (seconds: number): number =>
    ((seconds - span.from) / (span.to - span.from)) * width;
  drawHoles(ctx, strip, place, floor);
  drawArea(ctx, strip, place, floor);
  drawTimes(ctx, strip, place, height);
  if (strip.shown === null) return;
  const [left, right] = [place(strip.shown.from), place(strip.shown.to)];
  ctx.fillStyle = colours.cursor;
  if (right - left > 3) {
    ctx.globalAlpha = 0.28;
    ctx.fillRect(left, 0, right - left, floor);
    ctx.globalAlpha = 1;
    ctx.fillRect(left - 0.75, 0, 1.5, floor);
    ctx.fillRect(right - 0.75, 0, 1.5, floor);
    return;
  }
  ctx.fillRect(left - 1, 0, 2, floor);
  ctx.beginPath();
  ctx.moveTo(left - 5, 0);
  ctx.lineTo(left + 5, 0);
  ctx.lineTo(left, 6);
  ctx.fill();
}

type Place = (seconds: number) => number;

function drawHoles(ctx: CanvasRenderingContext2D, strip: Strip, place: Place, floor: number): void {
  ctx.strokeStyle = strip.colours.dim;
  ctx.lineWidth = 1;
  for (const hole of holes(strip.kept, strip.span)) {
    const [left, right] = [Math.max(0, place(hole.from)), Math.min(ctx.canvas.clientWidth, place(hole.to))];
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, 2, right - left, floor - 2);
    ctx.clip();
    ctx.globalAlpha = 0.35;
    ctx.beginPath();
    for (let x = left - floor; x < right; x += 7) {
      ctx.moveTo(x, floor);
      ctx.lineTo(x + floor, 0);
    }
    ctx.stroke();
    ctx.restore();
  }
}

function drawArea(ctx: CanvasRenderingContext2D, strip: Strip, place: Place, floor: number): void {
  const points = totals(strip.curves);
  const tops = heights(points);
  ctx.fillStyle = strip.colours.area;
  ctx.strokeStyle = strip.colours.edge;
  ctx.lineWidth = 1.2;
  let run: [number, number][] = [];
  const close = (): void => {
    const [first, end] = [run[0], run.at(-1)];
    if (first !== undefined && end !== undefined) {
      ctx.beginPath();
      run.forEach(([x, y], at) => (at === 0 ? ctx.moveTo(x, y) : ctx.lineTo(x, y)));
      ctx.stroke();
      ctx.lineTo(end[0], floor);
      ctx.lineTo(first[0], floor);
      ctx.fill();
    }
    run = [];
  };
  points.forEach((point, at) => {
    const top = tops[at] ?? null;
    if (top === null) close();
    else run.push([place(point.x / 1000), floor - 1 - top * (floor - 5)]);
  });
  close();
}

function drawTimes(ctx: CanvasRenderingContext2D, strip: Strip, place: Place, height: number): void {
  const { span, colours } = strip;
  ctx.font = "10.5px sans-serif";
  const width = ctx.canvas.clientWidth;
  const most = Math.max(2, Math.floor(width / LABEL_PX));
  for (const time of axisTimes(span.from * 1000, span.to * 1000, most)) {
    const date = new Date(time);
    const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
    const x = Math.round(place(time / 1000)) + 0.5;
    ctx.strokeStyle = midnight ? colours.dim : colours.rule;
    ctx.globalAlpha = midnight ? 0.8 : 1;
    ctx.beginPath();
    ctx.moveTo(x, midnight ? 0 : height - FOOT_PX);
    ctx.lineTo(x, height);
    ctx.stroke();
    ctx.globalAlpha = 1;
    const words = label(time, midnight);
    if (x + 4 + ctx.measureText(words).width > width) continue;
    ctx.fillStyle = colours.dim;
    ctx.fillText(words, x + 4, height - 3);
  }
}
