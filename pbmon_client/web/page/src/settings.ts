// What this browser remembers: theme, hidden classes, columns by view, the detail pane.
export type Theme = "system" | "dark" | "light";

export interface Settings {
  theme: Theme;
  detail: boolean;
  /** How much the timeline and the charts show, in seconds; 0 is the last minutes, live. */
  line: number;
  chart: number;
  /** Classes of bytes that are not shown. */
  classes: string[];
  /** Columns that are not shown, by view. */
  hidden: Record<string, string[]>;
  /** Fields that are shown beside the usual columns, by view. */
  added: Record<string, string[]>;
  /** Keys of warnings that were put away, the newest last. */
  seen: string[];
}

/** What the timeline can span, in seconds; the charts all but the last. */
export const SPANS: readonly (readonly [number, string, string])[] = [
  [3600, "1 h", "1 hour"],
  [21_600, "6 h", "6 hours"],
  [86_400, "1 d", "1 day"],
  [604_800, "1 w", "1 week"],
  [2_592_000, "30 d", "30 days"],
];

export const USUAL: Readonly<Settings> = {
  theme: "system",
  detail: true,
  line: 86_400,
  chart: 0,
  classes: [],
  hidden: {},
  added: {},
  seen: [],
};

const PLACE = "pbmon";
const MOST_SEEN = 100;

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

function lists(value: unknown): Record<string, string[]> {
  const entries = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  return Object.fromEntries(entries.map(([name, list]) => [name, texts(list)]));
}

/** Read what was stored; whatever makes no sense is as usual. */
export function parse(stored: string | null): Settings {
  let value: Record<string, unknown> = {};
  try {
    const read: unknown = JSON.parse(stored ?? "{}");
    if (typeof read === "object" && read !== null) value = read as Record<string, unknown>;
  } catch {
    // Somebody else's text: begin anew.
  }
  return {
    theme: value.theme === "dark" || value.theme === "light" ? value.theme : "system",
    detail: value.detail !== false,
    line: SPANS.some(([span]) => span === value.line) ? (value.line as number) : USUAL.line,
    chart: SPANS.some(([span]) => span === value.chart) ? (value.chart as number) : USUAL.chart,
    classes: texts(value.classes),
    hidden: lists(value.hidden),
    added: lists(value.added),
    seen: texts(value.seen).slice(-MOST_SEEN),
  };
}

export function load(): Settings {
  try {
    return parse(localStorage.getItem(PLACE));
  } catch {
    return parse(null); // storage is forbidden here
  }
}

export function save(settings: Settings): void {
  try {
    localStorage.setItem(PLACE, JSON.stringify(settings));
  } catch {
    // It lasts as long as the page, then.
  }
}

export function toggled(list: readonly string[] | undefined, name: string): string[] {
  const known = list ?? [];
  return known.includes(name) ? known.filter((each) => each !== name) : [...known, name];
}
