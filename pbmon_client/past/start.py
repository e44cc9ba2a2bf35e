"""The command ``pbmon-client history``: finds what of it is meant."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final, NoReturn

from pbmon_client.command_line import complain
from pbmon_client.past import kept_options, serve_options

_NO_NUMPY: Final = "history needs numpy: install python3-numpy, or pip install 'pbmon[daemon]'"


def main(arguments: Sequence[str]) -> int:
    """Do what is asked and return the exit status; mistakes in ``arguments`` are SystemExit 2."""
    if arguments and arguments[0] == "serve":
        return _serve(arguments[1:])
    if arguments and not arguments[0].startswith("-") and arguments[0] not in ("export", "import"):
        kept_options.kept_parser().error(f"{arguments[0]}: no such command")
    return _about_kept(arguments)


def _serve(arguments: Sequence[str]) -> int:
    chosen = serve_options.parse(arguments)
    if not chosen.serve:
        return complain(f"serving is off: {chosen.config} says [history] serve = false", 0)
    if find_spec("numpy") is None:
        return complain(_NO_NUMPY)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads cannot fork safely
    from pbmon_client.past import listening, serve  # noqa: PLC0415 - loads numpy

    try:
        serve.run(chosen)
    except listening.OccupiedError as error:
        return complain(str(error))
    except OSError as error:
        return complain(f"cannot listen at {chosen.listen}: {error.strerror or error}")
    except KeyboardInterrupt:
        return 130


def _about_kept(arguments: Sequence[str]) -> int:
    word, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    chosen: kept_options.KeptOptions | kept_options.BundleOptions | kept_options.ImportOptions
    if word == "export":
        chosen = kept_options.parse_export(rest)
    elif word == "import":
        chosen = kept_options.parse_import(rest)
    else:
        chosen = kept_options.parse_kept(arguments)
    if find_spec("numpy") is None:
        return complain(_NO_NUMPY)
    with _ended_by_signals():
        return _said(chosen)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let the signals that end a command be exceptions: what is half made is removed then."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:  # as nohup has it
            signal.signal(each, _end)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _said(
    chosen: kept_options.KeptOptions | kept_options.BundleOptions | kept_options.ImportOptions,
) -> int:
    from pbmon_client.history.source import PastError  # noqa: PLC0415 - loads numpy
    from pbmon_client.past import kept  # noqa: PLC0415 - likewise

    try:
        if isinstance(chosen, kept_options.BundleOptions):
            for remark in chosen.remarks:
                complain(remark)
            text = kept.exported_text(chosen)
        elif isinstance(chosen, kept_options.ImportOptions):
            text = kept.imported_text(chosen)
        else:
            text = kept.kept_text(chosen)
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return complain(f"{where}{error.strerror or error}")
    except (PastError, ValueError) as error:
        return complain(str(error))
    return 0
