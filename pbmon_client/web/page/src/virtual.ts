// Which rows of a long list are in sight; tells the state, so that the server sends just these.
import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
  type VirtualItem,
} from "@tanstack/virtual-core";
import { useCallback, useLayoutEffect, useReducer, useRef } from "preact/hooks";
import type { RefObject } from "preact";
import { range, width } from "./state";
import { windowAround } from "./window";

const COARSE = matchMedia("(pointer: coarse)");
/** Rows that exist beyond both edges. */
const OVERSCAN = 3;

export function rowHeight(): number {
  return COARSE.matches ? 40 : 29;
}

export function headerHeight(): number {
  return COARSE.matches ? 41 : 32;
}

export interface VisibleRows {
  items: VirtualItem[];
  height: number;
  perPage: number;
  scrollTo: (index: number, align: "auto" | "center" | "start") => void;
}

export function useRows(scroller: RefObject<HTMLDivElement | null>, count: number): VisibleRows {
  const [, redraw] = useReducer((turn: number) => turn + 1, 0);
  const made = useRef<Virtualizer<HTMLDivElement, HTMLElement> | null>(null);
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: rowHeight,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    overscan: OVERSCAN,
    scrollPaddingStart: headerHeight(),
    onChange: () => redraw(undefined),
  };
  made.current ??= new Virtualizer<HTMLDivElement, HTMLElement>(options);
  const virtualizer = made.current;
  virtualizer.setOptions(options);
  const items = virtualizer.getVirtualItems();
  // While nothing is known, what the window would hold: the table and its margins take that much.
  const last = items.at(-1)?.index ?? Math.ceil(innerHeight / rowHeight());
  const shown = windowAround(items[0]?.index ?? 0, last);
  // All is measured before the first paint, so that rows can be asked for as early.
  useLayoutEffect(() => virtualizer._didMount(), [virtualizer]);
  useLayoutEffect(() => virtualizer._willUpdate());
  useLayoutEffect(() => {
    range.value = shown;
  }, [shown.first, shown.count]);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return undefined;
    const measure = (): void => {
      width.value = element.clientWidth;
    };
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(element);
    return () => watch.disconnect();
  }, [scroller]);
  const scrollTo = useCallback(
    (index: number, align: "auto" | "center" | "start") =>
      virtualizer.scrollToIndex(index, { align }),
    [virtualizer],
  );
  const perPage = Math.max(1, Math.floor((virtualizer.scrollRect?.height ?? 600) / rowHeight()) - 2);
  return { items, height: virtualizer.getTotalSize(), perPage, scrollTo };
}
