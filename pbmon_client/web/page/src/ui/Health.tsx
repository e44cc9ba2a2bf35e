// The daemon's report on itself: how it counts, what it lost, cannot see, and costs.
import { useEffect, useState } from "preact/hooks";
import { unkept } from "../past";
import type { Report } from "../protocol";
import { view } from "../state";
import { Dialog } from "./Dialog";

const EVERY_MS = 2000;

async function ask(): Promise<Report | null> {
  try {
    const answer = await fetch(new URL("api/v1/health", document.baseURI));
    return answer.ok ? ((await answer.json()) as { report: Report }).report : null;
  } catch {
    return null;
  }
}

function Sections() {
  const [report, setReport] = useState<Report | null>(null);
  useEffect(() => {
    let open = true;
    async function refresh(): Promise<void> {
      const next = await ask();
      if (open && next !== null) setReport(next);
    }
    void refresh();
    const timer = setInterval(() => void refresh(), EVERY_MS);
    return () => {
      open = false;
      clearInterval(timer);
    };
  }, []);
  if (report === null) return <p class="quiet">Asking the daemon</p>;
  return (
    <>
      {report.map((section) => (
        <section key={section.heading}>
          <h3>{section.heading}</h3>
          <dl class="report">
            {section.entries.map((entry, at) => (
              <div key={at} class={entry.name === "" ? "whole" : ""}>
                <dt class={entry.name === "" ? "unseen" : ""}>{entry.name || section.heading}</dt>
                <dd>{entry.text}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </>
  );
}

export function Health() {
  const health = view.value?.health;
  return (
    <Dialog name="health" title="Health">
      {health !== undefined && (
        <p class="summary">
          <span class={`chip ${health.tone}`}>{health.text}</span> {health.coverage}
        </p>
      )}
      <Sections />
      {unkept.value !== null && (
        <section>
          <h3>History</h3>
          <p class="quiet">{unkept.value}</p>
        </section>
      )}
    </Dialog>
  );
}
