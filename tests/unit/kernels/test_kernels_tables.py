"""Claims about the tables of kernels: what they show, and that the pages' are made from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernels_runs import MAPPED, left, report, row, said

from tests.kernels import publish, results, tables
from tests.kernels.results import collect
from tests.pages import part_of

REFUSAL = 'fexit: no: set sockets and files to "auto" in the configuration'
REFUSED = said("files=fexit", report=None, words=REFUSAL)
UNKNOWN = "\N{EN DASH}"
UNSEEN = said("reads=probe", report=report(row("files.mapped", "unseen", MAPPED)))


def test_each_run_with_a_result_is_a_row_under_its_titles(tmp_path: Path) -> None:
    unknown = said(report=report(verified_instructions=None))
    title, *rows = tables.text([left(tmp_path, unknown, UNSEEN)])
    assert " ".join(title.split()) == (
        "KERNEL USERLAND SOCKETS FILES READS EXACT OFF UNSEEN NOT OFFERED LARGEST PROGRAM"
    )
    words = ["6.12.117+deb13-amd64", "Debian", "12", "tracepoint", "syscall-exit", "cast"]
    assert [each.split() for each in rows] == [
        [*words, "1", "0", "0", "0", UNKNOWN],
        [*words, "1", "0", "1", "0", "12,345"],
    ]
    assert (
        len({line.rindex(end) + len(end) for line, end in zip(rows, (UNKNOWN, "5"), strict=True)})
        == 1
    )


def test_what_does_not_load_is_said_below_the_table(tmp_path: Path) -> None:
    _title, _row, line = tables.text([left(tmp_path, said(), REFUSED)])
    assert line == f"6.12.117+deb13-amd64, Debian 12: files=fexit: does not load: {REFUSAL}"


def test_paths_that_are_off_and_what_is_lost_are_named(tmp_path: Path) -> None:
    off = said(report=report(row("uring.tee", "off", "5"), lost={"bytes": 4}))
    lines = list(tables.text([left(tmp_path, off)]))
    assert lines[2:] == [
        "6.12.117+deb13-amd64, Debian 12: auto: lost: {'bytes': 4}",
        "6.12.117+deb13-amd64, Debian 12: auto: off: uring.tee",
    ]


def test_a_program_that_is_too_large_is_named(tmp_path: Path) -> None:
    *_, line = tables.text([left(tmp_path, said(report=report(verified_instructions=345_678)))])
    assert line.endswith("a program of 345,678 verified instructions; 200,000 are the most")


def test_a_guest_without_a_result_is_in_both_tables(tmp_path: Path) -> None:
    result = collect(tmp_path, "7.2.13+deb14-amd64", "the guest had not ended after 60 s")
    line = "7.2.13+deb14-amd64: the guest had not ended after 60 s"
    assert list(tables.text([result]))[1:] == [line]
    assert f"- {line}\n" in tables.markdown([result])


def test_the_page_names_each_reason_once_with_its_kernels(tmp_path: Path) -> None:
    other = "requests that ask for no completion"
    bytes_too = f"{MAPPED}; disk_write_bytes 4,096"
    both = said(
        report=report(
            row("files.mapped", "unseen", MAPPED),
            row("a.a", "unseen", bytes_too),
            row("a.b", "unseen", other),
        )
    )
    newer = left(tmp_path, both, UNSEEN)
    (tmp_path / "run-00.json").unlink()
    older = collect(tmp_path, "6.1.0-56-amd64", None)
    part = tables.markdown([older, newer])
    assert part.count(MAPPED) == 1
    assert f"- {MAPPED}, on every kernel: `a.a`, `files.mapped`\n" in part
    assert f"- {other}, on 6.12: `a.b`\n" in part
    assert "What is wrong" not in part


def test_the_summary_adds_up_every_run_and_names_each_kernel_once(tmp_path: Path) -> None:
    off = said(report=report(row("uring.tee", "off", "5")))
    two = left(tmp_path, said(), off)
    arm = collect(tmp_path, "6.12.1-arm64", None)
    older = collect(tmp_path, "6.1.0-56-amd64", None)
    assert tables.summary([older, two, arm]) == (
        "The last run, on Linux 6.1 and 6.12 (also arm64): 6 self-tests,\n6 rows exact, 3 off.\n"
    )


def test_new_results_replace_those_of_their_series_and_make_the_pages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    places = {name: tmp_path / name for name in ("job", "new", "kept")}
    for place in places.values():
        place.mkdir()
    pages = {tmp_path / "long.md": tables.markdown, tmp_path / "short.md": tables.summary}
    for page in pages:
        page.write_text("before\n<!-- kernels: made by x -->\nold\n<!-- kernels: end -->\nafter\n")
    monkeypatch.setattr(publish, "KEPT", places["kept"])
    monkeypatch.setattr(publish, "PAGES", pages)
    result = left(places["job"], said(report=report(row("uring.tee", "off", "5"))))
    other = collect(places["job"], "6.1.0-56-amd64", None)
    for each in (result, other):
        results.save(each, places["kept"])
    better = left(places["job"], said())
    results.save(better, places["new"])
    assert publish.main([str(places["new"])]) == 0
    assert results.load(places["kept"]) == [other, better]
    for page, shown in pages.items():
        assert part_of(page.read_text(), "kernels") == shown([other, better])
        assert page.read_text().startswith("before\n")
        assert page.read_text().endswith("after\n")


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_the_kept_results_render_to(page: Path) -> None:
    shown = publish.PAGES[page](results.load(publish.KEPT))
    assert part_of(page.read_text(), "kernels") == shown
