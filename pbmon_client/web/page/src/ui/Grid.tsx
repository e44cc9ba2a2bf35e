// The table: a grid of which only the rows in sight exist, with its titles inside.
import { useEffect, useRef } from "preact/hooks";
import { choose, open, setFilter, sortBy, table } from "../actions";
import { template, totalWidth } from "../columns";
import { count } from "../format";
import { share } from "../magnitude";
import type { Column, Key, Row } from "../protocol";
import { placed } from "../rows";
import * as state from "../state";
import { headerHeight, rowHeight, useRows } from "../virtual";
import { TITLES } from "./Tabs";

/** The columns of one flow's bytes, which are of no class of their own. */
const OF_FLOWS = new Set(["rx", "tx", "read", "write"]);
const TONES: Record<string, string> = { d: " quiet", b: " big", h: " huge" };
/** Where the details cover the table, a tap opens them. */
const NARROW = matchMedia("(max-width: 860px)");

/** A cell; no component, as there are hundreds. */
function cell(column: Column, row: Row, at: number) {
  const text = row.cells[at] ?? "";
  const tone = TONES[row.tones[at] ?? ""] ?? "";
  const side = column.align === "right" ? " right" : "";
  const place = { key: column.name, role: "gridcell", "aria-colindex": at + 1 } as const;
  if (column.traffic !== null || OF_FLOWS.has(column.name)) {
    const part = share(text, state.totals.value);
    const bar = part > 0 ? { backgroundSize: `${(part * 100).toFixed(1)}% 2px` } : undefined;
    return (
      <span {...place} class={`cell traffic right ${column.name}${tone}`} style={bar}>
        {text}
      </span>
    );
  }
  if (column.keep_end) {
    return (
      <span {...place} class={`cell end${tone} ${column.name}`} title={text}>
        <bdi dir="ltr">{text}</bdi>
      </span>
    );
  }
  const lead = column.name === "name" ? row.lead : undefined;
  return (
    <span {...place} class={`cell${side}${tone} ${column.name}`} title={text}>
      {lead !== undefined && <span class="lead">{lead}</span>}
      {column.name === "class" ? <span class={`badge ${text}`}>{text}</span> : text}
    </span>
  );
}

interface LineProps {
  index: number;
  start: number;
  height: number;
  row: Row | undefined;
}

/** The row that was pressed last: the element may show another when it is released. */
let pressedKey: Key | undefined;

function Line({ index, start, height, row }: LineProps) {
  const chosen = row !== undefined && row.key === state.selectedKey.value;
  const pinned = index < (state.view.value?.pinned ?? 0);
  const classes = ["line", chosen && "chosen", pinned && "pinned", row?.state];
  // A mouse selects when it is pressed: until it is released, the row may be elsewhere.
  function pressed(event: PointerEvent): void {
    pressedKey = row?.key;
    if (row !== undefined && event.pointerType === "mouse" && event.button === 0) choose(row, index);
  }
  function clicked(event: MouseEvent): void {
    const byPointer = event.detail > 0;
    if (byPointer && row?.key !== pressedKey) return;
    if (row !== undefined) choose(row, index);
    if (NARROW.matches) state.opened.value = true;
  }
  return (
    <div
      role="row"
      id={`row-${index}`}
      class={classes.filter(Boolean).join(" ")}
      aria-rowindex={index + 2}
      aria-selected={chosen}
      style={{ transform: `translateY(${start}px)`, height: `${height}px` }}
      onPointerDown={pressed}
      onClick={clicked}
      onDblClick={open}
    >
      {row !== undefined &&
        state.columns.value.map((column, at) => cell(column, row, at))}
      {row === undefined && <span role="gridcell" class="cell quiet">…</span>}
    </div>
  );
}

function Title({ column, at }: { column: Column; at: number }) {
  const { sort, reverse } = state.place.value;
  const on = sort === column.name;
  const rises = column.rises !== reverse;
  const title = column.title.trim();
  return (
    <div
      role="columnheader"
      aria-colindex={at + 1}
      aria-sort={on ? (rises ? "ascending" : "descending") : undefined}
      class={`cell title${column.align === "right" ? " right" : ""}`}
      title={column.meaning}
    >
      {column.sortable ? (
        <button type="button" tabIndex={-1} onClick={() => sortBy(column.name)}>
          {title || <span class="unseen">{column.name}</span>}
          {on && (
            <span class="arrow" aria-hidden="true">
              {rises ? "▲" : "▼"}
            </span>
          )}
        </button>
      ) : (
        title
      )}
    </div>
  );
}

function Empty() {
  const now = state.view.value;
  const { filter, active } = state.place.value;
  if (now === null) return <p class="empty">Waiting for the first snapshot</p>;
  if (now.waiting) return <p class="empty">Waiting for connections and files</p>;
  if (now.count > 0) return null;
  return (
    <p class="empty">
      {filter !== "" ? "Nothing matches the filter" : active ? "Nothing moves bytes now" : "Nothing to show"}
      {filter !== "" && (
        <button type="button" class="plain" onClick={() => setFilter("")}>
          Clear the filter
        </button>
      )}
    </p>
  );
}

/** What is shown, for those who cannot see it; read out when it changes, not at every tick. */
function spoken(): string {
  const { view, sort, reverse, filter, active } = state.place.value;
  const column = state.columns.value.find((each) => each.name === sort);
  const order = column === undefined ? "busiest first" : `sorted by ${column.meaning || column.title}`;
  const parts = [
    TITLES[view],
    `${order}${reverse ? ", reversed" : ""}`,
    filter !== "" && "filtered",
    active && "active only",
    state.paused.value && "paused",
  ];
  return parts.filter(Boolean).join(", ");
}

export function Grid() {
  const scroller = useRef<HTMLDivElement>(null);
  const places = useRef<ReadonlyMap<Key, number>>(new Map());
  const now = state.view.value;
  const total = now?.count ?? 0;
  const rows = useRows(scroller, total);
  const columns = state.columns.value;
  const { exact } = state.place.value;
  const width = state.width.value;
  const rowsPerPage = rows.perPage;
  useEffect(() => {
    table.rows = rowsPerPage;
    table.scrollTo = rows.scrollTo;
    table.focus = () => scroller.current?.focus();
  }, [rowsPerPage, rows.scrollTo]);
  const room = { width, exact };
  const at = now?.selected_index ?? null;
  const seen = at !== null && rows.items.some((item) => item.index === at);
  const shown = rows.items.map((item) => {
    const row = state.known.value.rows.get(item.index);
    return { item, row, key: row?.key ?? `#${item.index}` };
  });
  places.current = placed(places.current, shown.map(({ key }) => key));
  return (
    <section class="table" aria-label="Table">
      <p class="unseen" role="status">{spoken()}</p>
      <div
        ref={scroller}
        class="grid"
        role="grid"
        tabIndex={0}
        style={{ "--columns": template(columns, room), "--least": `${totalWidth(columns, room)}px` }}
        aria-label={`${TITLES[state.place.value.view]}, ${count(total)} rows`}
        aria-busy={state.busy.value}
        aria-rowcount={total + 1}
        aria-colcount={columns.length}
        aria-activedescendant={seen ? `row-${at}` : undefined}
      >
        <div role="rowgroup" class="titles" style={{ height: `${headerHeight()}px` }}>
          <div role="row" aria-rowindex={1} class="line">
            {columns.map((column, index) => (
              <Title key={column.name} column={column} at={index} />
            ))}
          </div>
        </div>
        <div
          role="rowgroup"
          class="rows"
          style={{ height: `${rows.height}px`, lineHeight: `${rowHeight() - 1}px` }}
        >
          {shown.map(({ item, row, key }) => (
            // An element stays with its row, so that what is pointed at is what was seen.
            <Line
              key={places.current.get(key)}
              index={item.index}
              start={item.start}
              height={rowHeight()}
              row={row}
            />
          ))}
        </div>
      </div>
      <Empty />
    </section>
  );
}
