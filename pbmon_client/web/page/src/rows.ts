// The rows that are known around the window. Rows of an earlier moment stay until newer ones of
// the same arrangement arrive, so that scrolling shows no holes.
import type { Key, Row } from "./protocol";

/** How far from the window old rows are kept. */
const MARGIN = 200;

export interface Known {
  /** Names view, filter and sort: rows of another arrangement are worth nothing. */
  arrangement: string;
  rows: ReadonlyMap<number, Row>;
}

export const NOTHING_KNOWN: Known = { arrangement: "", rows: new Map() };

export function merged(
  known: Known,
  arrangement: string,
  first: number,
  rows: readonly Row[],
  count: number,
): Known {
  const made = new Map<number, Row>();
  if (known.arrangement === arrangement) {
    const fresh = new Set<Key>(rows.map((row) => row.key));
    for (const [at, row] of known.rows) {
      const near = at >= first - MARGIN && at < first + rows.length + MARGIN && at < count;
      if (near && !fresh.has(row.key)) made.set(at, row);
    }
  }
  rows.forEach((row, at) => made.set(first + at, row));
  return { arrangement, rows: made };
}

/** Number the elements that show some rows: a row keeps its element while it is shown, and those
 * of rows that are not are used again, which takes half the time of new ones. */
export function placed(before: ReadonlyMap<Key, number>, keys: readonly Key[]): Map<Key, number> {
  const made = new Map<Key, number>();
  for (const key of keys) {
    const place = before.get(key);
    if (place !== undefined) made.set(key, place);
  }
  const taken = new Set(made.values());
  let free = 0;
  for (const key of keys) {
    if (made.has(key)) continue;
    while (taken.has(free)) free += 1;
    made.set(key, free);
    free += 1;
  }
  return made;
}
