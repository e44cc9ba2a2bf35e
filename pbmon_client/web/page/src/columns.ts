// Which columns there is room for, and how wide each is.
import type { Column } from "./protocol";

/** A digit of the table's font, and what a cell has beside its text, in px. */
const CHARACTER_PX = 7.4;
const PADDING_PX = 20;
const TITLE_PX = 7.2;
/** The longest number of bytes with every digit. */
const EXACT_CHARACTERS = 16;
/** Text columns wider than they need be, so that most names are whole where there is room. */
const MOST_OF_TABLE = 0.36;
const KIND_CHARACTERS: Record<string, number> = { name: 17, program: 18, user: 11, path: 40 };

/** How wide the table is, in px, and whether its numbers are exact. */
export interface Room {
  width: number;
  exact: boolean;
}

export function leastWidth(column: Column, { width, exact }: Room): number {
  const least = exact && column.traffic !== null ? EXACT_CHARACTERS : column.cells;
  const wished = KIND_CHARACTERS[column.name] ?? 0;
  const characters = Math.max(least, Math.min(wished, (MOST_OF_TABLE * width) / CHARACTER_PX));
  const title = column.title.length * TITLE_PX + (column.sortable ? 12 : 0);
  return Math.ceil(Math.max(characters * CHARACTER_PX, title) + PADDING_PX);
}

/** Choose the columns that fit: those with the largest rank give way first, all
 * of a rank together, since half of a pair says little. One is always left. */
export function fitting(columns: readonly Column[], room: Room): Column[] {
  const ranks = [...new Set(columns.map((column) => column.rank))].sort((a, b) => a - b);
  const kept = new Set<Column>();
  let used = 0;
  for (const rank of ranks) {
    const together = columns.filter((column) => column.rank === rank);
    const need = together.reduce((sum, column) => sum + leastWidth(column, room), 0);
    if (used + need > room.width && kept.size > 0) break;
    for (const column of together) kept.add(column);
    used += need;
  }
  return columns.filter((column) => kept.has(column));
}

/** The columns as a CSS grid-template-columns; those that stretch share what is left. */
export function template(columns: readonly Column[], room: Room): string {
  const stretching = columns.some((column) => column.stretch > 0);
  const sizes = columns.map((column, at) => {
    const least = leastWidth(column, room);
    const last = !stretching && at === columns.length - 1;
    const share = last ? 1 : column.stretch;
    return share > 0 ? `minmax(${least}px, ${share}fr)` : `${least}px`;
  });
  return sizes.join(" ");
}

export function totalWidth(columns: readonly Column[], room: Room): number {
  return columns.reduce((sum, column) => sum + leastWidth(column, room), 0);
}
