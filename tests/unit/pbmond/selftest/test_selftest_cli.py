"""Claims about the command ``pbmond selftest`` that need neither root nor eBPF."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pbmond.cli import main
from pbmond.selftest.workloads import ABOUT, NAMES
from pbmond.selftest.workloads.programs import kernel


def test_every_path_says_in_a_line_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}  {ABOUT[name]}" for name in NAMES]
    assert all(ABOUT[name].endswith((".", ":")) for name in NAMES)


@pytest.mark.parametrize("pattern", ["uring.fixed_*", "uring.fixed", "g.fixed"])
def test_only_takes_a_pattern_or_a_part_of_a_name(
    pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["selftest", "--list", "--only", pattern]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["uring.fixed_inline", "uring.fixed_async", "uring.fixed_sqpoll"]


def test_several_patterns_choose_all_that_any_of_them_matches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["selftest", "--list", "--only", "uring.tee,files.read*,read_write"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    read_write = [name for name in NAMES if "read_write" in name or name.startswith("files.read")]
    assert names == [name for name in NAMES if name in (*read_write, "uring.tee")]


@pytest.mark.parametrize("pattern", ["files.reed_write", "files.read_write,files.reed_write"])
def test_an_unknown_path_is_answered_in_one_line_with_the_nearest(
    pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["selftest", "--only", pattern]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "files.read_write" in said


@pytest.mark.parametrize("seed", ["-1", "x", "2147483648", ""])
def test_a_wrong_seed_is_refused_in_one_line(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["selftest", f"--seed={seed}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_root_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["selftest"]) == 1
    assert capsys.readouterr().err == "pbmond selftest: must run as root: use sudo\n"


@pytest.fixture
def sizes_as_written() -> Iterator[None]:
    yield
    kernel.stretch_sizes(0)


def test_seed_0_leaves_sizes_and_others_keep_what_fits(sizes_as_written: None) -> None:
    kernel.stretch_sizes(0)
    assert [kernel.stretched(size) for size in (0, 1, 4001)] == [0, 1, 4001]
    seen = set()
    for seed in range(1, 50):
        kernel.stretch_sizes(seed)
        sizes = [kernel.stretched(size) for size in range(3000)]
        assert sizes == sorted(sizes)
        assert all(
            sizes[a] + sizes[b] <= kernel.stretched(a + b)
            for a, b in ((101, 303), (7, 8), (999, 1))
        )
        assert kernel.stretched(1 << 20) <= (1 << 20) * 5 // 4
        seen.add(kernel.stretched(4001))
    assert len(seen) > 40
