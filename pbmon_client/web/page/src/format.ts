// Numbers and times for people, as the server writes them in cells.
import type { Units } from "./protocol";

const SUFFIXES = ["K", "M", "G", "T", "P", "E"];

/** Write bytes per second in the unit chosen, in at most five characters; "?" is not known. */
export function rate(value: number | null, units: Pick<Units, "bits" | "binary">): string {
  if (value === null) return "?";
  const base = units.binary ? 1024 : 1000;
  let scaled = units.bits ? value * 8 : value;
  if (scaled > 0 && scaled < 0.5) return "<1";
  if (scaled < 999.5) return scaled.toFixed(0);
  for (const suffix of SUFFIXES) {
    scaled /= base;
    if (scaled < 99.95) return `${scaled.toFixed(1)}${suffix}`;
    if (scaled < 999.5) return `${scaled.toFixed(0)}${suffix}`;
  }
  return `${scaled.toFixed(0)}E`;
}

/** The unit that `rate` writes in. */
export function unitOf(units: Units): string {
  const unit = units.bits ? "bit" : "B";
  return units.totals ? unit : `${unit}/s`;
}

// What the page shows first is written without Intl, which takes longer to load than a frame.
export function clock(timeMs: number): string {
  const time = new Date(timeMs);
  const parts = [time.getHours(), time.getMinutes(), time.getSeconds()];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

let day: Intl.DateTimeFormat | undefined;

/** A time with its day, such as "Mon, 21 Sept 03:12:00". */
export function stamp(timeMs: number): string {
  day ??= new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
  return `${day.format(timeMs)} ${clock(timeMs)}`;
}

/** Write bytes in the unit chosen, or with every digit. */
export function bytes(value: number | null, units: Units): string {
  if (value === null) return "?";
  const scaled = units.bits ? value * 8 : value;
  return units.exact ? count(scaled) : rate(value, units);
}

/** Write a duration in at most two units: "12 s", "3 m 20 s", "2 h 5 m". */
export function duration(ms: number): string {
  const whole = Math.max(0, Math.floor(ms / 1000));
  const sizes: [number, string][] = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const at = sizes.findIndex(([size]) => whole >= size);
  if (at < 0) return "0 s";
  const [size, name] = sizes[at] as [number, string];
  const rest = whole % size;
  const next = sizes[at + 1];
  const first = `${Math.floor(whole / size)} ${name}`;
  return next !== undefined && rest >= next[0] ? `${first} ${Math.floor(rest / next[0])} ${next[1]}` : first;
}

/** Write a whole number with a comma after each thousand. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}
