// What says that it is not now, and the question for a time.
import { useState } from "preact/hooks";
import { act, table } from "../actions";
import type { Time } from "../address";
import { bytes, duration, stamp } from "../format";
import { readTime, remark } from "../past";
import { SERIES } from "../protocol";
import { SERIES_WORDS } from "../series";
import * as state from "../state";
import { visit } from "../travel";
import { Dialog } from "./Dialog";

function Sums() {
  const shown = state.past.value;
  if (shown === null || !shown.range) return null;
  const units = state.units.value;
  return (
    <span class="sums">
      {SERIES.map((name) => (
        <span key={name} class={name}>
          {SERIES_WORDS[name]} <strong title={`${shown.sums[name]} bytes`}>{bytes(shown.sums[name], units)}</strong> {units.bits ? "bit" : "B"}
        </span>
      ))}
    </span>
  );
}

/** When a time begins and ends, in ms: what the banner says until the server has answered. */
function bounds(time: NonNullable<Time>): [number, number] {
  const [since, until] = "at" in time ? [time.at, time.at] : [time.since, time.until];
  return [since * 1000, until * 1000];
}

function span(from: number, to: number): string {
  if (to - from < 1500) return stamp(from);
  const isOneDay = stamp(to).slice(0, -8) === stamp(from).slice(0, -8);
  return `${stamp(from)} to ${stamp(to).split(" ").slice(isOneDay ? -1 : 0).join(" ")}`;
}

function NotNow({ time }: { time: NonNullable<Time> }) {
  const [shown, wrong] = [state.past.value, state.noPast.value];
  const [from, to] = shown === null ? bounds(time) : [shown.since_ms, shown.until_ms];
  return (
    <p class="banner past">
      <span class="not-now">Not now</span>
      {wrong !== null ? <span class="why">{wrong}</span> : <strong>{span(from, to)}</strong>}
      {wrong === null && to - from >= 1500 && <span>({duration(to - from)})</span>}
      <Sums />
      <button type="button" class="toggle" onClick={() => act("live")}>
        Back to live
      </button>
    </p>
  );
}

export function PastBanner() {
  const { time } = state.place.value;
  return (
    <div role="status" class="banners">
      {time !== null && <NotNow time={time} />}
      {remark.value && <p class="banner past">{remark.value}</p>}
    </div>
  );
}

function Question() {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState<string | null>(null);
  async function answer(event: Event): Promise<void> {
    event.preventDefault();
    const found = await readTime(text);
    if (typeof found === "string") setWrong(found);
    else {
      state.dialog.value = null;
      visit(found, true);
      table.focus();
    }
  }
  return (
    <form class="when" onSubmit={(event) => void answer(event)}>
      <label for="when">Go to a time, such as 03:12, 2h ago, yesterday 14:00, 2026-11-25 03:12</label>
      <div>
        <input id="when" type="text" autocomplete="off" spellcheck={false} maxLength={100} autofocus value={text} aria-invalid={wrong !== null} aria-describedby="when-mistake" onInput={(event) => setText(event.currentTarget.value)} />
        <button type="submit" class="toggle">Go</button>
      </div>
      <p id="when-mistake" role="alert" class="alert">{wrong}</p>
    </form>
  );
}

export function TimeDialog() {
  return (
    <Dialog name="time" title="Go to a time">
      <Question />
    </Dialog>
  );
}
