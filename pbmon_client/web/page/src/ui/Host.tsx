// The host: its four rates in large numbers, which are its chart's legend, and the chart.
import { useSignal } from "@preact/signals";
import { hostCurves } from "../past";
import { place, units, view } from "../state";
import { unitOf } from "../format";
import { Chart, ChartSpan, Legend } from "./Chart";
import type { SeriesName } from "../protocol";

/** Beside a unit a dot, which stands for nothing in a table, would be lost. */
function written(text: string | undefined): string {
  return text === undefined ? "–" : text === "·" ? "0" : text;
}

export function Host() {
  const hidden = useSignal<ReadonlySet<SeriesName>>(new Set());
  const now = view.value;
  return (
    <section class="host-strip" aria-label="The whole host">
      <Legend
        class="stats"
        hidden={hidden}
        numbers={(name) => written(now?.totals_text[name])}
        unit={unitOf(units.value)}
      />
      <div class="host-chart">
        <ChartSpan />
        <Chart
          curves={hostCurves}
          hidden={hidden}
          what="Network and files of the host"
          bits={place.value.bits}
          binary={place.value.binary}
        />
      </div>
      <p class="coverage">{now?.health.coverage}</p>
    </section>
  );
}
