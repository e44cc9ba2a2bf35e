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
