// The timeline under the top bar: scrub on it by mouse, touch and keys; mark a range to sum it up.
import { useEffect, useRef, useState } from "preact/hooks";
import { act, change } from "../actions";
import { rate, stamp } from "../format";
import { kept, line, lineCurves, newest, shown } from "../past";
import { SPANS } from "../settings";
import * as state from "../state";
import { colourOf, colours } from "../theme";
import { cursor, mark, marking, travel, visit } from "../travel";
import { draw, totals } from "./strip";

/** A key moves by such a part of the timeline. */
const PARTS = 200;
const BY_KEY: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

function spoken(): string {
  const { time } = state.place.value;
  if (time === null) return "now";
  if ("since" in time) return `from ${stamp(time.since * 1000)} to ${stamp(time.until * 1000)}`;
  const points = totals(lineCurves.value);
  const near = points.find((point) => point.x / 1000 >= time.at) ?? points.at(-1);
  const moved = near === undefined || near.y === null ? "nothing recorded" : `about ${rate(near.y, state.units.value)} bytes per second`;
  return `${stamp(time.at * 1000)}, ${moved}`;
}

function pressed(event: KeyboardEvent): void {
  const { from, to } = line.value;
  const parts = BY_KEY[event.key];
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (parts !== undefined) visit(cursor() + Math.sign(parts) * Math.max(1, Math.round((Math.abs(parts) * (to - from)) / PARTS)));
  else if (event.key === "Home") visit(from);
  else if (event.key === "End") travel(null);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function Line() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [room, setRoom] = useState(0);
  const theme = colours.value;
  const [span, curves, store, time] = [line.value, lineCurves.value, kept.value, shown.value];
  useEffect(() => {
    if (canvas.current === null) return undefined;
    const watch = new ResizeObserver(([entry]) => setRoom(entry?.contentRect.width ?? 0));
    watch.observe(canvas.current);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    const place = canvas.current?.parentElement;
    if (canvas.current === null || !place || store === null) return;
    const of = (property: string): string => colourOf(place, property);
    draw(canvas.current, {
      span, curves, kept: store, shown: time,
      colours: { area: of("--line-area"), edge: of("--accent"), dim: of("--dim"), rule: of("--rule"), cursor: of("--past") },
    });
  }, [span, curves, store, time?.from, time?.to, theme, room]);
  function timeAt(event: PointerEvent): number {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined || box.width === 0) return span.to;
    return span.from + ((event.clientX - box.left) / box.width) * (span.to - span.from);
  }
  function down(event: PointerEvent): void {
    if (event.button !== 0) return;
    canvas.current?.parentElement?.setPointerCapture(event.pointerId);
    const at = timeAt(event);
    if (event.shiftKey && marking.value === null) marking.value = Math.floor(at);
    visit(at, state.place.value.time === null);
  }
  function move(event: PointerEvent): void {
    if (event.buttons === 1) visit(timeAt(event));
  }
  return (
    <div
      class="strip"
      role="slider"
      tabIndex={0}
      aria-label="Time"
      aria-orientation="horizontal"
      aria-valuemin={Math.floor(span.from)}
      aria-valuemax={Math.floor(newest.value)}
      aria-valuenow={Math.floor(cursor())}
      aria-valuetext={spoken()}
      onKeyDown={pressed}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={(event) => event.shiftKey && (marking.value = null)}
    >
      <canvas ref={canvas} aria-hidden="true" />
    </div>
  );
}

export function Timeline() {
  if (kept.value === null) return null;
  const isLive = state.place.value.time === null;
  return (
    <section class="timeline" aria-label="The past">
      <Line />
      <div class="controls">
        <button type="button" class="toggle" title="Ask for a time (b)" aria-haspopup="dialog" onClick={() => act("time")}>
          Go to
        </button>
        <button type="button" class="toggle" title="Sum up a range from here (m)" aria-pressed={marking.value !== null} onClick={mark}>
          Range
        </button>
        <label class="theme">
          <span class="unseen">Timeline shows</span>
          <select value={state.settings.value.line} onChange={(event) => change({ line: Number(event.currentTarget.value) })}>
            {SPANS.map(([seconds, , words]) => (
              <option key={seconds} value={seconds}>{words}</option>
            ))}
          </select>
        </label>
        <button type="button" class="toggle live" aria-pressed={isLive} title="The present (L)" onClick={() => act("live")}>
          Live
        </button>
      </div>
    </section>
  );
}
