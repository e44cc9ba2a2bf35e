// Which rows to ask the server for.

/** Rows that are asked for beyond those that exist. */
const MARGIN = 14;
/** The window moves in steps, so that scrolling by a row asks for nothing. */
const STEP = 10;
const MOST = 300;

/** The window to ask for when rows `first` to `last` exist. */
export function windowAround(first: number, last: number): { first: number; count: number } {
  const start = Math.max(0, Math.floor((first - MARGIN) / STEP) * STEP);
  const end = Math.ceil((last + 1 + MARGIN) / STEP) * STEP;
  return { first: start, count: Math.min(MOST, end - start) };
}
