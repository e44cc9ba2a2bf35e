// Turns pressed keys into actions, and leaves alone those that belong to what has the focus.
import { act, table } from "./actions";
import { actionOf, keyOf } from "./keys";
import { dialog } from "./state";

/** Keys that a button or a list uses itself. */
const OF_CONTROLS = new Set(["Enter", "Space", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"]);
/** Keys that scroll what has the focus. */
const OF_SCROLLERS = new Set(["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "Space"]);

function belongsTo(target: Element, key: string): boolean {
  if (target.closest("input, select, textarea, dialog") !== null) return true;
  if (target.closest("button, a, summary") !== null && OF_CONTROLS.has(key)) return true;
  return target.closest(".scroller") !== null && OF_SCROLLERS.has(key);
}

export function listen(): void {
  document.addEventListener("keydown", (event) => {
    const key = keyOf(event);
    if (key === null || dialog.value !== null || !(event.target instanceof Element)) return;
    const action = actionOf(key);
    if (action === null || belongsTo(event.target, key)) return;
    event.preventDefault();
    act(action, key);
    if (action === "back") table.focus();
  });
}
