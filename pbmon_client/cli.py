"""The command pbmon-client: waits for snapshots and prints them as asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from pbmon_client import options
from pbmon_client.asking.options import PastOptions
from pbmon_client.data.model import Snapshot
from pbmon_client.data.stream import Stream
from pbmon_client.data.text import safe_text
from pbmon_client.subscription import (
    OutputClosed,
    Subscription,
    SubscriptionError,
    SubscriptionRefused,
    connect_problem,
    silence_words,
    woken_by_signals,
    wrong_schema_words,
)
from pbmond.wire import WireError

_START: Final = (
    "start it with `sudo systemctl start pbmond`, in a checkout with `sudo packaging/quickstart`; "
    "or name its socket with --socket"
)

#: Writes a snapshot; the text is a notice for people.
Render = Callable[[Snapshot, str], bytes]


class _FailureError(Exception):
    """Nothing can be shown; the message is for the user."""


def _web(arguments: Sequence[str]) -> int:
    from pbmon_client.web import start  # noqa: PLC0415 - only this command needs it

    return start.main(arguments)


def _export(arguments: Sequence[str]) -> int:
    from pbmon_client.export import start  # noqa: PLC0415 - likewise

    return start.main(arguments)


def _record(arguments: Sequence[str]) -> int:
    from pbmon_client.record import start  # noqa: PLC0415 - likewise

    return start.main(arguments)


def _history(arguments: Sequence[str]) -> int:
    from pbmon_client.past import start  # noqa: PLC0415 - likewise

    return start.main(arguments)


#: What the first argument may be instead of an option.
_COMMANDS: Final = {"web": _web, "export": _export, "record": _record, "history": _history}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; mistakes in ``arguments`` are SystemExit 2."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in _COMMANDS:
        return _COMMANDS[given[0]](given[1:])
    try:
        chosen = options.parse(arguments)
        if sys.stdout is None:
            raise _FailureError("standard output is closed")
        _run(chosen)
    except OutputClosed:
        _forget_output()
    except _FailureError as failure:
        _forget_output()
        _print_error(str(failure))
        return 1
    except KeyboardInterrupt:
        _forget_output()
        return 130
    return 0


def _run(chosen: options.Options) -> None:
    if chosen.output == "screen" and _is_screen():
        from pbmon_client.tui import start  # noqa: PLC0415 - loads more than all the rest

        if failure := start.run(chosen):
            raise _FailureError(failure)
        return
    if chosen.past is not None:
        _print_past(chosen, chosen.past)
        return
    if chosen.demo is not None:
        _print_demo(chosen)
        return
    screen = chosen.output in ("screen", "table") and _redraws()
    # Before Ctrl-C can be meant for the wait: modules define dataclasses by exec(), and Python ends
    # by the signal itself once it interrupted an exec(), even if KeyboardInterrupt was caught.
    render = _renderer(chosen, screen=screen)
    flows, pids = _needs_flows(chosen), chosen.selection.pids
    kind = "flows" if flows else "processes"
    pid = next(iter(pids)) if flows and len(pids) == 1 else None
    try:
        with (
            woken_by_signals() as signal_fd,
            Subscription(
                chosen.socket,
                os.geteuid(),
                kind,
                pid,
                output_fd=sys.stdout.fileno(),
                signal_fd=signal_fd,
            ) as source,
        ):
            _Viewer(source, chosen, render, screen=screen).run()
    except SubscriptionError as error:
        raise _FailureError(f"{error}; name another with --socket") from None
    except SubscriptionRefused as error:
        raise _FailureError(str(error)) from None
    except WireError as error:
        raise _FailureError(wrong_schema_words(error)) from None


def _needs_flows(chosen: options.Options) -> bool:
    """Whether connections and files are needed, if only to choose processes."""
    if chosen.view is None:
        return chosen.selection.needs_flows
    from pbmon_client.output import once  # noqa: PLC0415 - only this option needs it

    return once.needs_flows(chosen.view, chosen.selection)


def _print_demo(chosen: options.Options) -> None:
    """Print a view of the first snapshot of a recording whose rates are known."""
    from pbmon_client.data import recording  # noqa: PLC0415 - only this option needs it

    if chosen.output != "once" or chosen.demo is None:
        raise _FailureError("--demo needs a terminal; with --once it prints a view")
    try:
        shown = recording.first_known(chosen.demo, chosen.selection)
    except recording.RecordingError as error:
        raise _FailureError(str(error)) from None
    _write(_once(chosen)(shown, ""))


def _print_past(chosen: options.Options, asked: PastOptions) -> None:
    """Print what was asked of the past."""
    for remark in asked.remarks:
        _print_error(remark)
    if asked.at is None and asked.since is None:
        raise _FailureError("--history: say which time with --at or --since")
    try:
        from pbmon_client.asking import answers  # noqa: PLC0415 - loads numpy
        from pbmon_client.history.source import PastError, open_past  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise _FailureError("the past needs numpy: install python3-numpy, with pip numpy") from None
    from pbmon_client.output import once  # noqa: PLC0415 - likewise

    question = answers.Question(
        asked,
        chosen.selection,
        once.view_of(chosen.view),
        flows=_needs_flows(chosen),
        counts=chosen.output != "once"
        or once.needs_counts(chosen.view, chosen.selection, _paper_width()),
        replay=chosen.output == "ndjson",
        uid=os.geteuid(),
    )
    whole = answers.pushed_down(question)[0] is None
    render = _renderer(chosen, screen=False, whole=whole)
    one_object = chosen.output == "json" and asked.step is not None
    try:
        source = open_past(asked.history)
        for text in answers.printed(source, question, render, one_object=one_object):
            _write(text)
    except PastError as error:
        raise _FailureError(str(error)) from None


class _Viewer:
    """Shows snapshots as they arrive, until it has shown as many as requested."""

    def __init__(
        self, source: Subscription, chosen: options.Options, render: Render, *, screen: bool
    ) -> None:
        self._source = source
        self._options = chosen
        self._render = render
        self._screen = screen  # redrawn in place
        self._stream = Stream(chosen.selection, os.geteuid())
        self._shown: Snapshot | None = None
        self._silence_reported = False

    def run(self) -> None:
        """Show as many snapshots as requested; _FailureError if none arrives."""
        count = 0
        while self._options.count == 0 or count < self._options.count:
            message = self._source.receive(self._patience_s(), newest=self._screen)
            if message is None:
                self._on_silence()
                continue
            shown = self._stream.take(message, self._source.scope, self._options.interval_s)
            if self._stream.last is message:  # rather than the previous one again
                self._silence_reported = False
            if shown is not None:
                self._shown = shown
                _write(self._render(shown, ""))
                count += 1

    def _patience_s(self) -> float:
        return self._options.wait_s if self._stream.last is None else self._stream.patience_s

    def _on_silence(self) -> None:
        path = self._options.socket
        problem, breaks_off = connect_problem(path), self._source.breaks_off
        words = silence_words(path, problem, breaks_off=breaks_off)
        if self._stream.last is None:
            raise _FailureError(
                words if breaks_off else _no_data(path, self._options.wait_s, problem)
            )
        self._source.start_over()
        if self._screen and self._shown is not None:
            _write(self._render(self._shown, f"OUT OF DATE, waiting: {words}"))
        elif not self._silence_reported:
            _print_error(f"{words}; waiting for it")
        self._silence_reported = True


def _no_data(path: str, wait_s: float, problem: OSError | None) -> str:
    if problem is None:
        return (
            f"pbmond at {path} sent nothing within {wait_s:g} s; if it is still starting, "
            "--wait SECONDS waits longer"
        )
    if isinstance(problem, (FileNotFoundError, ConnectionRefusedError)):
        return f"{silence_words(path, problem)}: {_START}"
    return f"{silence_words(path, problem)}; name another socket with --socket"


# --- output -------------------------------------------------------------------------------------


def _renderer(chosen: options.Options, *, screen: bool, whole: bool = True) -> Render:
    """Make the function that writes snapshots; each form is imported only when it is used."""
    if chosen.output == "once":
        return _once(chosen, whole=whole)
    if chosen.view in options.GROUP_VIEWS and chosen.output in ("json", "ndjson", "csv"):
        return _groups_writer(chosen, chosen.view)
    from pbmon_client.present.selected import selected  # noqa: PLC0415

    write = _rows_writer(chosen, screen=screen)
    return lambda snapshot, notice: write(selected(snapshot, chosen.selection), notice)


def _rows_writer(chosen: options.Options, *, screen: bool) -> Render:
    if chosen.output in ("json", "ndjson"):
        from pbmon_client.output import jsonout  # noqa: PLC0415

        row_a_line = chosen.output == "json"
        return lambda snapshot, _notice: jsonout.render(snapshot, row_a_line=row_a_line)
    if chosen.output == "csv":
        from pbmon_client.output import csvout  # noqa: PLC0415

        return csvout.Writer(flows=chosen.selection.flows).render
    return _table_on_screen() if screen else _table_on_paper()


def _groups_writer(chosen: options.Options, name: str) -> Render:
    from pbmon_client.present.grouped import group_fields, grouped  # noqa: PLC0415
    from pbmon_client.present.views import BY_NAME  # noqa: PLC0415

    view = BY_NAME[name]
    if chosen.output == "csv":
        from pbmon_client.output import csvout  # noqa: PLC0415

        writer = csvout.Writer(flows=False, groups=group_fields(view))
        return lambda snapshot, _notice: writer.render_groups(
            snapshot, name, grouped(snapshot, view, chosen.selection)
        )
    from pbmon_client.output import jsonout  # noqa: PLC0415

    row_a_line = chosen.output == "json"
    return lambda snapshot, _notice: jsonout.render_groups(
        snapshot, name, grouped(snapshot, view, chosen.selection), row_a_line=row_a_line
    )


def _table_on_screen() -> Render:
    from pbmon_client.output import table  # noqa: PLC0415

    def draw(snapshot: Snapshot, notice: str) -> bytes:
        size = os.get_terminal_size(sys.stdout.fileno())
        text = table.render(snapshot, size.columns or 80, (size.lines or 24) - 1, notice)
        return b"\x1b[H" + _encoded(text).replace(b"\n", b"\x1b[K\n") + b"\x1b[J"

    return draw


def _table_on_paper() -> Render:
    from pbmon_client.output import table  # noqa: PLC0415

    width = _paper_width()
    return lambda snapshot, notice: _encoded(table.render(snapshot, width, notice=notice) + "\n")


def _once(chosen: options.Options, *, whole: bool = True) -> Render:
    from pbmon_client.output import once  # noqa: PLC0415

    return lambda snapshot, _notice: _encoded(
        once.render(snapshot, chosen.view, chosen.selection, _paper_width(), whole=whole)
    )


def _encoded(text: str) -> bytes:
    """Encode a table for the locale's terminal or file."""
    from pbmon_client.present.cells import in_ascii, reads_unicode  # noqa: PLC0415

    shown = text if reads_unicode(os.environ) else in_ascii(text)
    return shown.encode(sys.stdout.encoding, "replace")


def _paper_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns[:4]):
        return int(columns[:4])
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 80


def _redraws() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _is_screen() -> bool:
    return _redraws() and sys.stdin is not None and sys.stdin.isatty()


def _write(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise _FailureError(f"cannot write the output: {error.strerror}") from None


def _forget_output() -> None:
    """Redirect standard output to /dev/null, so that the final flush cannot fail."""
    if sys.stdout is not None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _print_error(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"pbmon-client: {safe_text(text)}\n")
