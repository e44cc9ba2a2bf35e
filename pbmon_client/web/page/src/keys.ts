// The table of keys: what each does, as in the terminal. The help is made from it.

export interface Binding {
  keys: readonly string[];
  action: string;
  help: string;
}

export interface Section {
  title: string;
  bindings: readonly Binding[];
}

function bind(keys: string, action: string, help: string): Binding {
  return { keys: keys.split(" "), action, help };
}

export const SECTIONS: readonly Section[] = [
  {
    title: "Moving",
    bindings: [
      bind("ArrowUp k", "up", "row up"),
      bind("ArrowDown j", "down", "row down"),
      bind("PageUp", "page up", "page up"),
      bind("PageDown", "page down", "page down"),
      bind("Home g", "home", "first row"),
      bind("End G", "end", "last row"),
      bind("Enter", "open", "open: a group's members, a row's details"),
      bind("Escape Backspace", "back", "back; clear the filter"),
    ],
  },
  {
    title: "Views",
    bindings: [
      bind("1 2 3 4 5 6 7 8 9", "view", "that view"),
      bind("t", "tree", "processes as a tree, and back"),
      bind("d", "detail", "detail pane on and off"),
    ],
  },
  {
    title: "Rows",
    bindings: [
      bind("/ F4", "filter", "filter by words, or as --filter does"),
      bind("s ArrowRight >", "sort next", "sort by the next column"),
      bind("S ArrowLeft <", "sort previous", "sort by the previous column"),
      bind("r", "reverse", "reverse the order"),
      bind("o", "active", "only rows that move bytes"),
      bind("p", "pin", "pin the row to the top, and off"),
      bind("Space", "pause", "pause the page; counting goes on"),
    ],
  },
  {
    title: "The past",
    bindings: [
      bind("b @", "time", "ask for a time: 03:12, 2h ago"),
      bind("[ ,", "step back", "one interval back"),
      bind("] .", "step forth", "one interval forth"),
      bind("{", "steps back", "ten intervals back"),
      bind("}", "steps forth", "ten intervals forth"),
      bind("m", "mark", "sum up a range from here, and off"),
      bind("z", "zoom in", "a shorter timeline"),
      bind("Z", "zoom out", "a longer timeline"),
      bind("L", "live", "return to the present"),
    ],
  },
  {
    title: "Numbers and columns",
    bindings: [
      bind("a", "totals", "totals or rates"),
      bind("u", "bits", "bits or bytes"),
      bind("B", "binary", "K is 1024 or 1000"),
      bind("e", "exact", "exact or short numbers"),
      bind("C F2", "columns", "choose classes and columns"),
    ],
  },
  {
    title: "More",
    bindings: [
      bind("H F3", "health", "health: what is lost or unseen (*), and the cost"),
      bind("x", "acknowledge", "dismiss the warnings"),
      bind("y", "link", "copy the address of this view"),
      bind("T", "theme", "as the system, dark or light"),
      bind("? h F1", "help", "this help"),
    ],
  },
];

const ACTIONS: ReadonlyMap<string, string> = new Map(
  SECTIONS.flatMap((section) =>
    section.bindings.flatMap((binding) =>
      binding.keys.map((key): [string, string] => [key, binding.action]),
    ),
  ),
);

const NAMES: Record<string, string> = {
  ArrowUp: "↑",
  ArrowDown: "↓",
  ArrowLeft: "←",
  ArrowRight: "→",
  PageUp: "PgUp",
  PageDown: "PgDn",
  Escape: "Esc",
};

export function keyName(key: string): string {
  return NAMES[key] ?? key;
}

/** The name of a pressed key in the table; null with Ctrl, Alt or Meta, which are the browser's. */
export function keyOf(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "altKey" | "metaKey">): string | null {
  if (event.ctrlKey || event.altKey || event.metaKey) return null;
  return event.key === " " ? "Space" : event.key;
}

export function actionOf(key: string): string | null {
  return ACTIONS.get(key) ?? null;
}
