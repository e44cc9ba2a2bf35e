// The selected row: its chart, what it is, its connections and files.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { change, pin, showMembers, table } from "../actions";
import { membersOf } from "../address";
import { count, rate, unitOf } from "../format";
import { rowCurves } from "../past";
import type { Column, FlowTable, Row, SeriesName } from "../protocol";
import * as state from "../state";
import { Chart, Legend } from "./Chart";

function Facts() {
  const facts = state.selected.value?.facts ?? [];
  return (
    <dl class="facts">
      {facts.map((fact) => (
        <div key={fact.name} class={fact.text.length > 22 ? "long" : ""}>
          <dt>{fact.label}</dt>
          <dd>{fact.text}</dd>
        </div>
      ))}
    </dl>
  );
}

type Kind = "connections" | "files";
const WAYS: Record<Kind, [string, string]> = { connections: ["rx", "tx"], files: ["read", "write"] };
const HEADS: Record<Kind, [string, string]> = { connections: ["In", "Out"], files: ["Read", "Write"] };

/** The text of a row's cell by the name of its column. */
function reader(columns: readonly Column[], row: Row): (name: string) => string {
  return (name) => row.cells[columns.findIndex((column) => column.name === name)] ?? "";
}

function FlowRow({ kind, columns, row }: { kind: Kind; columns: readonly Column[]; row: Row }) {
  const text = reader(columns, row);
  const what = kind === "files" ? text("path") : text("remote_address");
  const [into, out] = WAYS[kind];
  return (
    <tr class={row.state ?? ""}>
      <th scope="row" title={what}>
        <span class={`badge ${text("class")}`}>{text("class") || text("protocol")}</span>
        <span class={kind === "files" ? "what end" : "what"}>
          <bdi dir="ltr">{what || "(no name)"}</bdi>
        </span>
        {kind === "connections" && (
          <small>
            {text("protocol")} {text("direction")} {text("local_address")}
          </small>
        )}
      </th>
      <td>{text(into)}</td>
      <td>{text(out)}</td>
    </tr>
  );
}

function FlowList({ kind, flows }: { kind: Kind; flows: FlowTable | null }) {
  if (flows === null) return null;
  const columns = state.flowColumns.value[kind];
  const words = `${flows.count === 0 ? "No" : count(flows.count)} ${flows.count === 1 ? kind.slice(0, -1) : kind}`;
  const more = flows.count > flows.rows.length;
  return (
    <section class="flows">
      <h3>
        {flows.waiting ? `Waiting for ${kind}` : words}
        {flows.count > 0 && (
          <button type="button" class="plain" onClick={() => showMembers(kind)}>
            {more ? "show all" : "as a table"}
          </button>
        )}
      </h3>
      {flows.rows.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col" class="unseen">{kind}</th>
              {HEADS[kind].map((head) => (
                <th key={head} scope="col">{head}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {flows.rows.map((row) => (
              <FlowRow key={row.key} kind={kind} columns={columns} row={row} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function close(): void {
  if (state.opened.value) state.opened.value = false;
  else change({ detail: false });
  table.focus();
}

export function Detail() {
  const hidden = useSignal<ReadonlySet<SeriesName>>(new Set());
  const pane = useRef<HTMLElement>(null);
  const about = state.selected.value;
  const enters = about !== null && state.entering.value;
  useEffect(() => {
    if (!enters) return;
    state.entering.value = false;
    pane.current?.focus();
  }, [enters]);
  if (about === null) return null;
  const { bits, binary, selected, view } = state.place.value;
  const isPinned = selected !== null && state.pinned.value.includes(selected);
  const group = membersOf(view) !== null;
  return (
    <aside id="detail" class="detail scroller" tabIndex={0} aria-label={`Selected: ${about.title}`} ref={pane}>
      <header>
        <h2 title={about.title}>{about.title}</h2>
        {about.gone && <span class="badge gone">gone</span>}
        <span class="spring" />
        {group && (
          <button type="button" class="toggle" onClick={() => showMembers()}>
            Members
          </button>
        )}
        <button type="button" class="toggle" aria-pressed={isPinned} onClick={pin}>
          Pin
        </button>
        <button type="button" class="plain close" aria-label="Close the details" onClick={close}>
          ×
        </button>
      </header>
      <div class="row-chart">
        <Chart curves={rowCurves} hidden={hidden} what={about.title} bits={bits} binary={binary} />
      </div>
      <Legend
        class="small"
        hidden={hidden}
        numbers={(name) => rate(about.point?.[name] ?? null, state.units.value)}
        unit={unitOf({ ...state.units.value, totals: false })}
      />
      <Facts />
      <FlowList kind="connections" flows={about.connections} />
      <FlowList kind="files" flows={about.files} />
    </aside>
  );
}
