"""The page in a real browser: what is seen, clicked and typed."""

from __future__ import annotations

import gzip
import re

from playwright.sync_api import Dialog, Page, expect

from tests.browser.conftest import Visit
from tests.browser.live_world import HOSTILE
from tests.browser.page_reader import (
    await_history,
    choose,
    column,
    drawn,
    eventually,
    number,
    pane,
    pass_ticks,
    press,
    settle,
)
from tests.browser.page_server import BUILT, Server

#: Rows that stay where they are.
STILL = "#sort=pid"


def test_the_page_names_the_host_and_lists_its_processes(server: Server, visit: Visit) -> None:
    page = visit(server)
    expect(page.locator(".host")).to_contain_text("web-1")
    expect(page).to_have_title("web-1 · pbmon")
    assert "nginx" in column(page, "NAME")
    eventually(page, lambda: drawn(page) > 1000)  # the charts come after the rows


def test_a_click_on_a_title_sorts_and_another_reverses(server: Server, visit: Visit) -> None:
    page = visit(server)
    title = page.get_by_role("columnheader", name="NET TX", exact=True)
    title.click()
    expect(title).to_have_attribute("aria-sort", "descending")
    values = [number(text) for text in column(page, "NET TX")]
    assert values == sorted(values, reverse=True) != sorted(values)
    title.click()
    expect(title).to_have_attribute("aria-sort", "ascending")
    values = [number(text) for text in column(page, "NET TX")]
    assert values == sorted(values)
    assert "sort=" in page.url


def test_a_click_selects_the_row_that_was_seen_however_rows_move(
    server: Server, visit: Visit
) -> None:
    page = visit(server)
    page.evaluate(
        "addEventListener('pointerdown', (event) => { window.seen ="
        " event.target.closest('.line').querySelector('.name').textContent }, true)"
    )
    table = page.get_by_role("grid").bounding_box()
    assert table is not None
    for line in (3, 5, 4):
        page.mouse.move(table["x"] + 200, table["y"] + 32 + 29 * line + 14)
        page.mouse.down()
        pass_ticks(page)  # the rows are in another order by now
        page.mouse.up()
        expect(pane(page).locator("h2")).to_have_text(page.evaluate("window.seen"))


def filter_by(page: Page, text: str) -> None:
    page.get_by_label("Filter").fill(text)
    page.get_by_label("Filter").press("Enter")
    settle(page)


#: Types a letter; as soon as that is followed, a second; and a third when the page has drawn.
_TYPE = """() => new Promise((done) => {
  const field = document.getElementById("filter");
  const type = (letter) => {
    field.value += letter;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const second = () => {
    if (!location.hash.includes("filter=b")) return setTimeout(second);
    type("a");
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(third)));
  };
  const third = () => {
    type("c");
    done();
  };
  type("b");
  setTimeout(second);
})"""


def test_no_letter_is_lost_that_is_typed_while_the_one_before_is_followed(
    server: Server, visit: Visit
) -> None:
    page = visit(server, STILL)
    page.evaluate(_TYPE)
    expect(page.get_by_label("Filter")).to_have_value("bac")
    eventually(page, lambda: {*column(page, "NAME")} == {"backup"})


def test_words_and_expressions_filter_and_a_mistake_is_explained(
    server: Server, visit: Visit
) -> None:
    page = visit(server)
    filter_by(page, "postgres")
    assert {*column(page, "NAME")} == {"postgres"}
    filter_by(page, "uid = 112 and net_rx_bytes >= 0")
    expect(page.locator(".rows .line")).to_have_count(1)
    field = page.get_by_label("Filter")
    filter_by(page, "nonsense_field > 5")
    expect(page.get_by_role("alert")).to_have_text(re.compile("^no field 'nonsense_field'"))
    expect(field).to_have_attribute("aria-invalid", "true")
    box, words = field.bounding_box(), page.get_by_role("alert").bounding_box()
    assert box is not None
    assert words is not None
    assert 0 <= words["y"] - (box["y"] + box["height"]) < 10  # just below the field
    choose(page, "redis-server")  # the rows of before go on, and can be chosen
    field.press("Escape")
    expect(page.locator("#filter-mistake")).to_be_empty()
    filter_by(page, "nobody knows this")
    expect(page.locator(".rows .line")).to_have_count(0)
    page.get_by_role("button", name="Clear the filter").click()
    settle(page)
    assert "nginx" in column(page, "NAME")


def test_the_selected_row_shows_what_it_is_and_what_it_uses(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    choose(page, "backup")
    about = pane(page)
    expect(about).to_contain_text("backup.service")
    expect(about).to_contain_text("198.51.100.7:873")
    expect(about).to_contain_text("/srv/www/media/archive-2026.tar")
    expect(about.locator(".badge.net").first).to_have_text("net")
    chart = about.get_by_role("img")
    expect(chart).to_have_attribute("aria-label", re.compile(r"file read [\d.]+M"))
    await_history(chart, 28)  # from the daemon
    before = chart.get_attribute("aria-label")
    assert before is not None
    expect(chart).not_to_have_attribute("aria-label", before)  # and it goes on


def test_a_legend_takes_curves_away_and_brings_them_back(server: Server, visit: Visit) -> None:
    page = visit(server)
    legend = page.get_by_label("The whole host").get_by_role("button")
    expect(legend).to_have_count(4)
    eventually(page, lambda: drawn(page) > 1000)
    everything = drawn(page)
    for each in legend.all():
        each.click()
        expect(each).to_have_attribute("aria-pressed", "false")
    eventually(page, lambda: drawn(page) < everything / 2)
    legend.first.click()
    expect(legend.first).to_have_attribute("aria-pressed", "true")


def test_a_reload_shows_the_same_place(server: Server, visit: Visit) -> None:
    page = visit(server)
    press(page, "3")
    page.get_by_role("columnheader", name="NET RX", exact=True).click()
    choose(page, "root")
    page.get_by_role("button", name="Members").click()
    expect(page.locator(".crumb strong")).to_have_text("root")
    press(page, "a")
    before = page.url
    page.reload()
    expect(page.locator(".crumb strong")).to_have_text("root")
    expect(page.get_by_role("button", name="Totals")).to_have_attribute("aria-pressed", "true")
    assert page.url == before
    page.go_back()
    expect(page.locator(".crumb")).to_have_count(0)
    expect(page.get_by_role("columnheader", name="NET RX", exact=True)).to_have_attribute(
        "aria-sort", "descending"
    )


def test_a_copied_link_shows_the_same_to_somebody_else(server: Server, visit: Visit) -> None:
    page = visit(server, STILL, permissions=["clipboard-read", "clipboard-write"])
    filter_by(page, "name ~ ^[bg]")
    choose(page, "backup")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Link copied")).to_be_attached()
    link: str = page.evaluate("navigator.clipboard.readText()")
    assert server.token not in link
    other = visit(server, link.removeprefix(f"{server.origin}/"))
    expect(other.get_by_label("Filter")).to_have_value("name ~ ^[bg]")
    expect(pane(other)).to_have_accessible_name("Selected: backup")
    assert column(other, "PID") == sorted(column(other, "PID"), key=int, reverse=True)


def test_any_field_of_the_contract_can_be_a_column(server: Server, visit: Visit) -> None:
    page = visit(server, "#filter=gunicorn", width=1920)
    page.get_by_role("button", name="Columns").click()
    choices = page.get_by_role("dialog")
    for name in ("container_name", "image", "pod", "namespace", "before_read_bytes"):
        expect(choices.get_by_role("checkbox", name=re.compile(rf"^{name}\b"))).to_be_visible()
    choices.get_by_role("checkbox", name=re.compile(r"^image\b")).check()
    choices.get_by_role("checkbox", name=re.compile(r"^disk$")).uncheck()
    page.keyboard.press("Escape")
    assert column(page, "IMAGE") == ["registry.example/shop/app:2026.5"]
    expect(page.get_by_role("columnheader", name="DISK R", exact=True)).to_have_count(0)
    page.reload()
    assert column(page, "IMAGE") == ["registry.example/shop/app:2026.5"]


def test_pinned_rows_stay_first_in_their_view(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    choose(page, "kthreadd")
    press(page, "p")
    assert column(page, "NAME")[0] == "kthreadd"
    press(page, "r")
    assert column(page, "NAME")[:2] == ["kthreadd", "systemd"]
    press(page, "21")
    assert column(page, "NAME")[0] == "kthreadd"
    choose(page, "kthreadd")
    press(page, "p")
    assert column(page, "NAME")[0] == "systemd"


def test_units_are_those_that_were_chosen(server: Server, visit: Visit) -> None:
    page = visit(server, f"{STILL}&filter=backup")
    for keys, unit in (("", "B/s"), ("u", "bit/s"), ("ua", "B")):
        press(page, keys)
        expect(page.locator(".stats small").first).to_have_text(f" {unit}")
    short = column(page, "NET TX")
    press(page, "e")
    (exact,) = column(page, "NET TX")
    assert re.fullmatch(r"[\d,]{9,}", exact), (short, exact)
    press(page, "ea")
    page.get_by_role("button", name="Active only").click()
    filter_by(page, "")
    assert not {"cron", "bash"} & {*column(page, "NAME")}


def test_hostile_names_are_text(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    alarms: list[str] = []

    def refuse(dialog: Dialog) -> None:
        alarms.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    shown = column(page, "NAME")
    for name in HOSTILE:
        assert any(name[:15] in text for text in shown), name
        choose(page, name)
        expect(pane(page)).to_contain_text(f"/tmp/{name}")
    for view in "8249":
        press(page, view)
        page.locator(".rows .line .cell").first.wait_for()
    assert page.locator("img, script:not([src])").count() == 0
    assert alarms == []


def test_a_tour_asks_nobody_else_and_breaks_no_rule(server: Server, visit: Visit) -> None:
    page = visit(server)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda opened: asked.append(opened.url))
    page.on("console", lambda line: complaints.append(line.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.reload()
    for view in "123456789":
        press(page, view)
        page.locator(".rows .line").first.click()
        expect(pane(page)).to_be_visible()
    page.hover(".host-chart canvas")
    for key, name in (("?", "Keys and filters"), ("C", "Classes and columns"), ("H", "Health")):
        page.keyboard.press(key)
        dialog = page.get_by_role("dialog", name=name)
        expect(dialog).to_be_visible()
        if key == "H":
            expect(dialog.locator(".report dd").first).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
    press(page, "abBetTTTopdy")
    pass_ticks(page)
    assert page.evaluate("window.refused") == []
    assert complaints == []
    allowed = (f"{server.origin}/", f"ws://127.0.0.1:{server.port}/")
    assert asked
    assert [address for address in asked if not address.startswith(allowed)] == []


def test_what_the_page_begins_with_is_asked_for_once(server: Server, visit: Visit) -> None:
    page = visit(server)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(f"{server.origin}/")))
    page.on("websocket", lambda opened: asked.append(opened.url))
    page.reload()
    settle(page)
    eventually(page, lambda: drawn(page) > 1000)
    assert asked.count("api/v1/fields") == 1  # what the head of the page began is used
    assert sum(each.startswith("ws:") for each in asked) == 1


def test_the_page_is_small() -> None:
    scripts = [*BUILT.parent.glob("assets/*.js")]
    assert scripts
    assert sum(len(gzip.compress(each.read_bytes())) for each in scripts) <= 120_000
