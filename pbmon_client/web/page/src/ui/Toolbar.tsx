// The filter, what is shown of each row, and how many rows there are.
import { useEffect, useRef, useState } from "preact/hooks";
import { act, flip, leave, setFilter, table } from "../actions";
import { isView } from "../address";
import { count } from "../format";
import { copied, mistake, paused, place, view } from "../state";
import { TITLES } from "./Tabs";

/** Typing is followed after this pause, so that half a word asks nothing. */
const PAUSE_MS = 120;

function Count() {
  const now = view.value;
  if (now === null) return <p class="count" />;
  const all = count(now.of);
  return (
    <p class="count">
      {now.count === now.of ? all : <><strong>{count(now.count)}</strong> of {all}</>}
      {all === "1" ? " row" : " rows"}
    </p>
  );
}

function FilterField() {
  const { filter } = place.value;
  const [text, setText] = useState(filter);
  const timer = useRef<number | undefined>(undefined);
  const followed = useRef(filter);
  // Only what was changed elsewhere: more may have been typed since a filter of this field.
  useEffect(() => {
    const now = place.peek().filter;
    if (now === followed.current) return;
    clearTimeout(timer.current);
    followed.current = now;
    setText(now);
  }, [filter]);
  function follow(next: string): void {
    clearTimeout(timer.current);
    followed.current = next;
    setFilter(next);
  }
  function typed(next: string): void {
    setText(next);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => follow(next), PAUSE_MS);
  }
  function pressed(event: KeyboardEvent & { currentTarget: HTMLInputElement }): void {
    if (event.key === "Escape") {
      follow("");
      setText("");
    }
    if (event.key === "Enter") follow(event.currentTarget.value);
    if (event.key === "Escape" || event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      table.focus();
    }
  }
  const wrong = mistake.value;
  return (
    <div class={`filter${wrong === null ? "" : " wrong"}`}>
      <label for="filter" class="unseen">
        Filter
      </label>
      <input
        id="filter"
        type="search"
        autocomplete="off"
        spellcheck={false}
        maxLength={1000}
        placeholder="Filter: words, or net_tx_bytes_per_s > 1M and user = root"
        value={text}
        aria-invalid={wrong !== null}
        aria-describedby="filter-mistake"
        onInput={(event) => typed(event.currentTarget.value)}
        onKeyDown={pressed}
      />
      <Count />
      <kbd aria-hidden="true">/</kbd>
      <p id="filter-mistake" role="alert">
        {wrong}
      </p>
    </div>
  );
}

type Choice = "totals" | "bits" | "binary" | "exact";

function Pair({ flag, words, label }: { flag: Choice; words: [string, string]; label: string }) {
  const on = place.value[flag];
  return (
    <div class="pair" role="group" aria-label={label}>
      {words.map((word, at) => (
        <button
          key={word}
          type="button"
          aria-pressed={on === (at === 1)}
          onClick={() => on !== (at === 1) && flip(flag)}
        >
          {word}
        </button>
      ))}
    </div>
  );
}

function Crumb() {
  const { within, view: shown } = place.value;
  if (within === null) return null;
  const from = isView(within.view) ? TITLES[within.view] : within.view;
  const label = view.value?.within[0]?.label ?? within.label;
  return (
    <p class="crumb">
      <button type="button" class="plain" onClick={leave}>
        ← {from}
      </button>
      <strong>{label}</strong>
      <span>{TITLES[shown].toLowerCase()}</span>
    </p>
  );
}

function CopyLink() {
  return (
    <>
      <button
        type="button"
        class={`toggle link${copied.value ? " done" : ""}`}
        title="Copy the address of this view (y)"
        aria-label="Copy link"
        onClick={() => act("link")}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d={copied.value ? "M3 8.5l3.5 3.5L13 4.5" : "M6.5 9.5l3-3M5 7 3.5 8.5a2.8 2.8 0 0 0 4 4L9 11M11 9l1.5-1.5a2.8 2.8 0 0 0-4-4L7 5"} />
        </svg>
      </button>
      <span class="unseen" role="status">{copied.value && "Link copied"}</span>
    </>
  );
}

export function Toolbar() {
  const { active } = place.value;
  return (
    <div class="toolbar">
      <Crumb />
      <FilterField />
      <div class="controls" role="toolbar" aria-label="What is shown">
        <button type="button" class="toggle" aria-pressed={active} onClick={() => flip("active")}>
          Active only
        </button>
        <button
          type="button"
          class="toggle pause"
          aria-pressed={paused.value}
          title="Pause the page; counting goes on (Space)"
          onClick={() => act("pause")}
        >
          {paused.value ? "Paused" : "Pause"}
        </button>
        <button type="button" class="toggle" aria-haspopup="dialog" onClick={() => act("columns")}>
          Columns
        </button>
        <Pair flag="totals" words={["Rates", "Totals"]} label="Rates or totals" />
        <Pair flag="bits" words={["Bytes", "Bits"]} label="Bytes or bits" />
        <Pair flag="binary" words={["1000", "1024"]} label="K is 1000 or 1024" />
        <Pair flag="exact" words={["Short", "Exact"]} label="Short or exact numbers" />
        <CopyLink />
      </div>
    </div>
  );
}
