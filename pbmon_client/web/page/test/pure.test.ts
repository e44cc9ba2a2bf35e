// The pure parts of the page.
import { describe, expect, test, vi } from "vitest";
import { HOME, isAt, read, VIEWS, write, type Place } from "../src/address";
import { fitting, leastWidth, template } from "../src/columns";
import { clock, count, duration, rate } from "../src/format";
import { actionOf, keyOf, SECTIONS } from "../src/keys";
import { share, valueOf } from "../src/magnitude";
import type { Column, HistoryMessage, Point, Row, Wish } from "../src/protocol";
import { merged, NOTHING_KNOWN, placed } from "../src/rows";
import { axisTimes, continued, fromHistory, fromSeries, gaps, NO_CURVES, SPAN_MS } from "../src/series";
import { parse, toggled } from "../src/settings";
import { Connection, delayBefore, socketAddress } from "../src/socket";
import { windowAround } from "../src/window";

describe("time", () => {
  test("is at its moment, or at the two ends of its range", () => {
    expect([1, 2, 3].filter((second) => isAt({ at: 2 }, second))).toEqual([2]);
    expect([1, 2, 3, 4, 5].filter((second) => isAt({ since: 2, until: 5 }, second))).toEqual([2, 4]);
    expect(isAt(null, 2)).toBe(false);
  });
});

describe("address", () => {
  const full: Place = {
    view: "connections",
    within: { view: "users", key: "k&1=#", label: "mara & <b>" },
    filter: "name ~ ^a#&= and remote_address in 10.0.0.0/8",
    active: true,
    sort: "rx",
    reverse: true,
    selected: "a/b+c d%",
    totals: true,
    bits: true,
    binary: true,
    exact: true,
    time: { at: 1_790_000_000 },
  };

  test("a place survives its address", () => {
    expect(read(write(full))).toEqual(full);
    const range = { ...full, time: { since: 5, until: 1_790_000_000 } };
    expect(read(write(range))).toEqual(range);
    for (const view of VIEWS) expect(read(write({ ...HOME, view }))).toEqual({ ...HOME, view });
  });

  test("an address that makes no sense is the usual place", () => {
    for (const text of ["", "#", "#view=nothing&in=x&key=1", "#%", "#view=&active=yes", "#at=noon", "#since=2026-01-02T00:00Z", "#at=%2B200000-01-01T00:00Z",
      "#since=2026-01-02T00:00Z&until=2026-01-01T00:00Z"]) {
      expect(read(text)).toEqual(HOME);
    }
  });
});

function column(name: string, rank: number, stretch = 0, cells = 6): Column {
  return {
    name, rank, stretch, cells, title: name, meaning: "", align: "left", sortable: false,
    rises: true, traffic: stretch ? null : name, keep_end: false,
  };
}

describe("columns", () => {
  const room = (width: number, exact = false) => ({ width, exact });
  const columns = [column("pid", 0), column("rx", 2), column("tx", 2), column("cmd", 9, 4)];

  test("those with the largest rank give way, all of a rank together", () => {
    const one = leastWidth(columns[0] as Column, room(900));
    expect(fitting(columns, room(10_000))).toEqual(columns);
    expect(fitting(columns, room(2 * one + 4)).map((each) => each.name)).toEqual(["pid"]);
    expect(fitting(columns, room(3 * one + 4)).map((each) => each.name)).toEqual(["pid", "rx", "tx"]);
  });

  test("one column is left on the narrowest screen", () => {
    expect(fitting(columns, room(1))).toEqual([columns[0]]);
  });

  test("a path leaves room for numbers on a narrow screen", () => {
    const path = column("path", 0, 8, 12);
    expect(leastWidth(path, room(390))).toBeLessThan(170);
    expect(leastWidth(path, room(1400))).toBeGreaterThan(300);
  });

  test("exact numbers take more room, text does not", () => {
    expect(leastWidth(columns[1] as Column, room(900, true))).toBeGreaterThan(leastWidth(columns[1] as Column, room(900)));
    expect(leastWidth(columns[3] as Column, room(900, true))).toBe(leastWidth(columns[3] as Column, room(900)));
  });

  test("the line is filled whether or not a column stretches", () => {
    expect(template(columns, room(900))).toContain("4fr");
    expect(template(columns.slice(0, 3), room(900))).toMatch(/1fr\)$/);
  });
});

describe("numbers", () => {
  const plain = { bits: false, binary: false };

  test("rates are written as the table writes them", () => {
    const pairs: [number | null, string][] = [
      [null, "?"], [0, "0"], [0.2, "<1"], [999, "999"], [999.5, "1.0K"], [99_949, "99.9K"],
      [99_950, "100K"], [999_499, "999K"], [1_500_000, "1.5M"], [2e18, "2.0E"],
    ];
    for (const [value, text] of pairs) expect(rate(value, plain)).toBe(text);
    expect(rate(1000, { bits: true, binary: false })).toBe("8.0K");
    expect(rate(1536, { bits: false, binary: true })).toBe("1.5K");
  });

  test("the value of a written number is found again", () => {
    expect(valueOf("1.5M")).toBe(1_500_000);
    expect(valueOf("1,234,567")).toBe(1_234_567);
    for (const text of ["·", "?", "<1", "", "name", "1.5X"]) expect(valueOf(text)).toBe(0);
  });

  test("a bar grows with the number and stays inside its cell", () => {
    const parts = ["1", "5.0K", "2.0M", "1.0G", "9.0P"].map((text) => share(text, false));
    expect(parts).toEqual([...parts].sort((a, b) => a - b));
    expect(Math.max(...parts)).toBe(1);
    expect(share("·", false)).toBe(0);
  });

  test("a whole number has a comma after each thousand", () => {
    const numbers = [0, 999, 1000, 123_456, 9_007_199_254_740_991];
    expect(numbers.map(count)).toEqual(["0", "999", "1,000", "123,456", "9,007,199,254,740,991"]);
  });

  test("a time of day has two digits for each part", () => {
    expect(clock(new Date(2026, 2, 4, 0, 5, 9).getTime())).toBe("00:05:09");
    expect(clock(new Date(2026, 2, 4, 23, 59, 30).getTime())).toBe("23:59:30");
  });

  test("a duration has at most two units", () => {
    expect(duration(-5)).toBe("0 s");
    expect(duration(200_000)).toBe("3 m 20 s");
    expect(duration(7_500_000)).toBe("2 h 5 m");
    expect(duration(86_400_000)).toBe("1 d");
  });
});

function point(t: number, value: number | null = 1): Point {
  return { t_ms: t, net_rx: value, net_tx: value, file_read: value, file_write: value };
}

describe("curves", () => {
  test("an older or equal point changes nothing", () => {
    const curves = continued(NO_CURVES, point(1000), 1000);
    expect(continued(curves, point(1000, 5), 1000)).toBe(curves);
    expect(continued(curves, point(500, 5), 1000)).toBe(curves);
  });

  test("time without points is a gap, not a line", () => {
    const curves = continued(continued(NO_CURVES, point(1000), 1000), point(9000), 1000);
    expect(curves.net_rx.map((sample) => sample.y)).toEqual([1, null, 1]);
  });

  test("a gap is a pause if the page was paused when it began", () => {
    const curves = continued(NO_CURVES, point(1000), 1000);
    const paused = continued(curves, point(9000), 1000, 1000);
    expect(gaps(paused)).toEqual([{ from: 1000, to: 9000, paused: true }]);
    const later = continued(paused, point(20_000), 1000, 1000);
    expect(gaps(later)[1]).toEqual({ from: 9000, to: 20_000, paused: false });
    expect(gaps(continued(curves, point(2000), 1000, 1000))).toEqual([]);
  });

  test("what was known before a daemon began stays, with a gap", () => {
    const known = continued(continued(NO_CURVES, point(1000), 1000), point(2000), 1000);
    const nothing = [null, null, null];
    const history: HistoryMessage = {
      type: "history", key: null, t_ms: [8000, 9000, 10_000],
      net_rx: [null, 5, 6], net_tx: nothing, file_read: nothing, file_write: nothing,
    };
    const curves = fromHistory(history, known);
    expect(curves.net_rx.map((sample) => sample.x)).toEqual([1000, 2000, 3000, 9000, 10_000]);
    expect(gaps(curves)).toEqual([{ from: 2000, to: 9000, paused: false }]);
  });

  test("an unknown value is a gap", () => {
    const curves = continued(continued(NO_CURVES, point(1000), 1000), point(2000, null), 1000);
    expect(curves.file_read.map((sample) => sample.y)).toEqual([1, null]);
  });

  test("what is older than the chart is forgotten", () => {
    let curves = NO_CURVES;
    for (let at = 0; at <= 2 * SPAN_MS; at += 1000) curves = continued(curves, point(at), 1000);
    expect(curves.net_tx.length).toBeLessThanOrEqual(SPAN_MS / 1000 + 1);
    expect(curves.net_tx[0]?.x).toBe(SPAN_MS);
  });

  test("the daemon's history is followed by live points", () => {
    const history: HistoryMessage = {
      type: "history", key: null, t_ms: [1000, 2000],
      net_rx: [1, null], net_tx: [1, 2], file_read: [0, 0], file_write: [0, 0],
    };
    const curves = continued(fromHistory(history), point(3000, 7), 1000);
    expect(curves.net_rx.map((sample) => sample.y)).toEqual([1, null, 7]);
  });

  test("the axis has a few round times", () => {
    for (const span of [20_000, 60_000, 300_000, 600_000]) {
      const times = axisTimes(1_700_000_003_123, 1_700_000_003_123 + span);
      expect(times.length).toBeGreaterThan(0);
      expect(times.length).toBeLessThanOrEqual(6);
      for (const time of times) expect(time % 15_000).toBe(0);
    }
  });

  test("days begin at midnight of the local clock", () => {
    const times = axisTimes(1_789_950_000_000, 1_789_950_000_000 + 7 * 86_400_000, 12);
    expect(times.length).toBeGreaterThanOrEqual(6);
    for (const time of times) expect(new Date(time).getHours()).toBe(0);
  });

  test("a series is rates in the middle of its steps, with gaps, and without what goes on", () => {
    const names = { net_rx: "rx_bytes", net_tx: null, file_read: null, file_write: null };
    const answer = { since: 100, until: 140, step: 10, recorded_until: 135 };
    const made = fromSeries({ ...answer, sums: { rx_bytes: [50, null, 0, 7] } }, names);
    expect(made.net_rx).toEqual([
      { x: 105_000, y: 5 }, { x: 115_000, y: null }, { x: 125_000, y: 0 }, { x: 135_000, y: null },
    ]);
    expect(made.net_tx.map(({ y }) => y)).toEqual([null, null, null, null]);
  });
});

function row(key: string): Row {
  return { key, cells: [key], tones: "." };
}

describe("rows", () => {
  test("rows of another arrangement are dropped", () => {
    const old = merged(NOTHING_KNOWN, "a", 0, [row("x"), row("y")], 100);
    expect([...merged(old, "b", 1, [row("z")], 100).rows.keys()]).toEqual([1]);
  });

  test("a row that moved is not in two places", () => {
    const old = merged(NOTHING_KNOWN, "a", 0, [row("x"), row("y"), row("z")], 100);
    const next = merged(old, "a", 1, [row("x")], 100);
    expect([...next.rows].map(([at, each]) => [at, each.key]).sort()).toEqual([[1, "x"], [2, "z"]]);
  });

  test("rows beyond the end of a shorter list are dropped", () => {
    const old = merged(NOTHING_KNOWN, "a", 0, [row("x"), row("y")], 2);
    expect([...merged(old, "a", 0, [row("x")], 1).rows.keys()]).toEqual([0]);
  });

  test("a row keeps its element, and a new one takes that of a row that is gone", () => {
    const before = placed(new Map(), ["x", "y", "z"]);
    expect([...before.values()]).toEqual([0, 1, 2]);
    const after = placed(before, ["new", "z", "x", "newer"]);
    expect(Object.fromEntries(after)).toEqual({ z: 2, x: 0, new: 1, newer: 3 });
  });

  test("the window contains the rows that exist and moves in steps", () => {
    for (const first of [0, 7, 123, 9990]) {
      const { first: from, count } = windowAround(first, first + 40);
      expect(from).toBeLessThanOrEqual(first);
      expect(from + count).toBeGreaterThan(first + 40);
      expect(from % 10).toBe(0);
    }
  });
});

describe("settings", () => {
  test("what was stored by somebody else does no harm", () => {
    for (const text of [null, "", "{", "null", "7", '{"theme":"<b>","hidden":[1],"seen":{}}']) {
      expect(parse(text)).toEqual(parse("{}"));
    }
  });

  test("settings survive storing", () => {
    const settings = parse('{"theme":"dark","classes":["pipe"],"hidden":{"files":["inode"]}}');
    expect(parse(JSON.stringify(settings))).toEqual(settings);
    expect(toggled(toggled([], "pipe"), "pipe")).toEqual([]);
  });
});

describe("keys", () => {
  test("no key does two things", () => {
    const keys = SECTIONS.flatMap((section) => section.bindings.flatMap((each) => each.keys));
    expect(new Set(keys).size).toBe(keys.length);
  });

  test("keys with Ctrl, Alt or Meta are the browser's", () => {
    const none = { ctrlKey: false, altKey: false, metaKey: false };
    expect(keyOf({ key: "f", ...none, ctrlKey: true })).toBeNull();
    expect(actionOf(keyOf({ key: " ", ...none }) ?? "")).toBe("pause");
    expect(actionOf("w")).toBeNull();
  });
});

describe("socket", () => {
  test("its address is below that of the page", () => {
    expect(socketAddress("https://host/sub/#view=x")).toBe("wss://host/sub/api/v1/page");
    expect(socketAddress("http://127.0.0.1:8484/?a=b")).toBe("ws://127.0.0.1:8484/api/v1/page");
  });

  test("a wish goes out at once, and those that follow too fast as one: the newest", () => {
    vi.useFakeTimers();
    vi.stubGlobal("WebSocket", { OPEN: 1 });
    vi.stubGlobal("window", globalThis);
    const sent: string[] = [];
    const open = { readyState: 1, send: (text: string) => sent.push(text) } as unknown as WebSocket;
    const connection = new Connection("", { message() {}, opened() {}, closed() {} });
    connection.open(open);
    for (const wish of [1, 2, 3]) connection.send({ wish } as Wish);
    expect(sent).toEqual(['{"wish":1}']);
    vi.runAllTimers();
    expect(sent).toEqual(['{"wish":1}', '{"wish":3}']);
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  test("attempts become rarer up to a limit", () => {
    const delays = [0, 1, 2, 5, 50].map(delayBefore);
    expect(delays).toEqual([...delays].sort((a, b) => a - b));
    expect(delayBefore(1000)).toBe(5000);
  });
});
