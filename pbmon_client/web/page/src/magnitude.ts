// How large a written number of bytes is, for the bar behind it.
const POWERS = "KMGTPE";
const SHAPE = /^([\d,]+(?:\.\d+)?)([KMGTPE])?$/;
/** Bars begin at 1 kB/s and are full at 1 GB/s, on a scale of orders of magnitude. */
const LEAST = 3;
const MOST = 9;

/** The number that a cell shows; 0 for a dot, a question mark and words. */
export function valueOf(text: string): number {
  const found = SHAPE.exec(text);
  if (found === null) return 0;
  const power = found[2] === undefined ? 0 : POWERS.indexOf(found[2]) + 1;
  return Number((found[1] ?? "").replaceAll(",", "")) * 1000 ** power;
}

/** How much of the bar is filled, 0 to 1; of totals a thousand times as much. */
export function share(text: string, totals: boolean): number {
  const value = valueOf(text) / (totals ? 1000 : 1);
  if (value < 1) return 0;
  const part = (Math.log10(value) - LEAST) / (MOST - LEAST);
  return Math.max(0.03, Math.min(1, part));
}
