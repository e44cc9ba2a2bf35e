// All keys, from the table of keys, and how a filter is written.
import { keyName, SECTIONS } from "../keys";
import { Dialog } from "./Dialog";

const EXAMPLES: readonly [string, string][] = [
  ["nginx mara", "rows with both words"],
  ["net_tx_bytes_per_s > 1.5MiB", "a number; 10M is 10,000,000"],
  ["name ~ ^post and user != root", "a regular expression; and, or, not, ( )"],
  ["remote_address in 10.0.0.0/8", "a network"],
];

export function Help() {
  return (
    <Dialog name="help" title="Keys and filters">
      <div class="columns">
        {SECTIONS.map((section) => (
          <section key={section.title}>
            <h3>{section.title}</h3>
            <dl class="keys">
              {section.bindings.map((binding) => (
                <div key={binding.action}>
                  <dt>
                    {binding.action === "view" ? (
                      <><kbd>1</kbd> to <kbd>9</kbd></>
                    ) : (
                      binding.keys.map((key) => <kbd key={key}>{keyName(key)}</kbd>)
                    )}
                  </dt>
                  <dd>{binding.help}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
        <section>
          <h3>Filters</h3>
          <dl class="examples">
            {EXAMPLES.map(([text, meaning]) => (
              <div key={text}>
                <dt><code>{text}</code></dt>
                <dd>{meaning}</dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
    </Dialog>
  );
}
