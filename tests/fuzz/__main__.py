"""Fuzzes the targets one after the other: ``python -m tests.fuzz [--seconds N] [TARGET…]``.

Exits with 1 if anything was found. What was found is printed as a Python literal, ready for the
unit test that it becomes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_UNIT: Final = _ROOT / "tests/unit"
_INPUT_BYTES: Final = 8192
_INPUT_SECONDS: Final = 20  # one input that takes longer is a finding
_MEGABYTES: Final = 2048
_SHOWN_LINES: Final = 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz what was asked for; return the exit status."""
    sys.path.insert(0, str(_UNIT))
    from tests.fuzz.targets import all_targets  # noqa: PLC0415 - seeds use the unit tests' helpers

    targets = all_targets()
    parser = argparse.ArgumentParser(prog="tests.fuzz", description="Fuzz what reads bytes.")
    parser.add_argument("--seconds", type=_seconds, default=60, help="for each target (default 60)")
    parser.add_argument("target", nargs="*", help=f"of {', '.join(targets)} (default: all)")
    options = parser.parse_args(arguments)
    for name in options.target:
        if name not in targets:
            parser.error(f"no target {name!r}: there are {', '.join(targets)}")
    failed = [
        name
        for name in options.target or targets
        if not _fuzz(name, list(targets[name].seeds()), options.seconds)
    ]
    if failed:
        print(f"fuzz: claims that do not hold: {', '.join(failed)}")
    return 1 if failed else 0


def _seconds(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 86_400:
        raise argparse.ArgumentTypeError("must be from 1 to 86400")
    return value


def _fuzz(name: str, seeds: Sequence[bytes], seconds: int) -> bool:
    """Fuzz one target; return whether all its claims held."""
    with tempfile.TemporaryDirectory(prefix="pbmon-fuzz-") as directory:
        corpus, found = Path(directory, "corpus"), Path(directory, "found")
        corpus.mkdir()
        found.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.engine", name, str(corpus)),
                *(f"-max_total_time={seconds}", f"-timeout={_INPUT_SECONDS}"),
                *(f"-max_len={_INPUT_BYTES}", f"-rss_limit_mb={_MEGABYTES}"),
                *(f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=1"),
            ],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_UNIT)},
        )
        runs = _runs(done.stderr)
        print(f"fuzz: {name}: {runs} inputs, {len(list(corpus.iterdir()))} kept", flush=True)
        if done.returncode == 0 and runs:
            return True
        print(_why(done.stdout, done.stderr))
        for path in found.iterdir():
            print(f"fuzz: {name}: {path.name.partition('-')[0]}: {path.read_bytes()!r}", flush=True)
        return False


def _why(out: str, err: str) -> str:
    """Return the traceback that atheris writes to its output, or the last that libFuzzer said."""
    _, found, trace = out.partition("=== Uncaught Python exception: ===\n")
    return trace.rstrip() if found else "\n".join(err.splitlines()[-_SHOWN_LINES:])


def _runs(said: str) -> int:
    """Return how many inputs libFuzzer tried, by its closing statistics; 0 if it gave none."""
    _, found, rest = said.partition("stat::number_of_executed_units:")
    return int(rest.split()[0]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
