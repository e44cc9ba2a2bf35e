"""The pbmond command: arguments, configuration, log, signals, and the order of starting up."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn

from pbmond import __version__
from pbmond.allocator import give_large_blocks_back
from pbmond.children.starter import ForkerError, Starter
from pbmond.config import KEYS, LOG_LEVELS, Config, ConfigError, check_capacities, load
from pbmond.kernel.attach import Attaching
from pbmond.kernel.loading import AttachError
from pbmond.loader import ownership, refusals, trials
from pbmond.loader.refusals import Refused
from pbmond.patience import PatienceError, factor
from pbmond.publish.supervisor import PublisherError
from pbmond.system import accounts, given_sockets
from pbmond.system.logfile import Log
from pbmond.system.memory import total_bytes
from pbmond.system.one_line import one_line
from pbmond.system.privileges import confine_daemon, confine_loading
from pbmond.system.rundir import RunDirError, hold
from pbmond.system.seccomp import NoSeccompError, library
from pbmond.system.signals import Signals

_FAILURE: Final = 1
_USAGE: Final = 2
#: Tables of more bytes take seconds to make.
_LARGE_TABLES: Final = 512 << 20
#: Commands beside the daemon itself: modules whose main() takes what follows.
_COMMANDS: Final = {"probes": "pbmond.probes.cli", "selftest": "pbmond.selftest.cli"}


class StartError(Exception):
    """The daemon cannot start; the message is one line that says what to do."""


class Parser(argparse.ArgumentParser):
    """The parser of pbmond and of its commands."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the whole usage."""
        self.exit(_USAGE, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon or a command; return the exit status: 0 stopped, 1 failed, 2 wrong use."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        factor()
        if arguments and arguments[0] in _COMMANDS:
            # Imported on demand: the daemon need not load what only a command uses.
            command: Callable[[list[str]], int] = import_module(_COMMANDS[arguments[0]]).main
            return command(arguments[1:])
        options = _parser().parse_args(arguments)
        if options.check_config and options.config is None:
            raise ConfigError("--check-config: name the file with --config FILE")
        config = configuration(options)
    except (ConfigError, PatienceError) as error:
        return fail("pbmond", str(error), _USAGE)
    if options.check_config:
        sys.stdout.write(f"{options.config}: valid\n")
        return 0
    return _run(config, allow_unsafe_code=options.allow_unsafe_code)


def _run(config: Config, *, allow_unsafe_code: bool) -> int:
    try:
        _serve(config, _log(config), allow_unsafe_code=allow_unsafe_code)
    except (StartError, RunDirError, Refused, ForkerError) as error:
        return fail("pbmond", str(error), _FAILURE)
    except Exception as error:  # a bug: the traceback goes to the log, one line to the user
        logging.getLogger("pbmond").critical("the daemon crashed", exc_info=True)
        return fail("pbmond", f"unexpected {type(error).__name__}: {error}", _FAILURE)
    return 0


def configuration(options: argparse.Namespace) -> Config:
    """Return the settings of the file, or the defaults, overridden by the command line."""
    memory_bytes, processes = total_bytes(), _processes()
    config = Config.for_memory(memory_bytes, processes)
    if options.config:
        config = load(options.config, uid_of, config, roots_own=os.geteuid() == 0)
    overrides: dict[str, Any] = {}
    for name in ("interval", "run_dir", "baseline", "log_level", "log_file"):
        given = getattr(options, name)
        if given is None:
            continue
        key = KEYS[name]
        value = key.read(given)
        if value is None:
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"{option} {given}: must be {key.allowed}; see pbmond --help")
        overrides[key.field] = value
    config = replace(config, **overrides)
    check_capacities(config, memory_bytes, processes)
    return config


def _processes() -> int:
    """Return how many processes there are now."""
    return sum(name.isdigit() for name in os.listdir("/proc"))  # noqa: PTH208 - names only


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="pbmond",
        description="Counts the bytes that processes move, in the kernel, and serves them to "
        "viewers (pbmon-client). Runs in the foreground, as root.",
        epilog="pbmond selftest proves the counting on this kernel; pbmond probes measures what "
        "each hook of a running daemon costs. See their --help. On a slow machine, set "
        "PBMON_PATIENCE to a factor by which to wait longer for what starts.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", metavar="FILE", type=Path, help="read settings from a TOML file")
    add("--run-dir", metavar="DIR", type=_path, help="socket and lock (default: /run/pbmon)")
    add("--interval", metavar="SECONDS", type=float, help="time between snapshots (default: 1)")
    add(
        "--baseline",
        action="store_true",
        default=None,
        help="show what the kernel counted for older processes and connections until now",
    )
    add("--log-level", choices=LOG_LEVELS, help="how much to log (default: info)")
    add(
        "--log-file",
        metavar="FILE",
        type=_path,
        help="append to it (default: standard error)",
    )
    add_switch(parser)
    add("--check-config", action="store_true", help="say whether --config is valid, and exit")
    add(
        "--version",
        action="version",
        version=f"pbmond {__version__}",
        help="print the version and exit",
    )
    return parser


def _path(text: str) -> str:
    """Return an absolute path. Of no text (a shell's unset variable) it would be this directory."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return os.path.abspath(text)  # noqa: PTH100 - links are for safe_paths to judge


def add_switch(parser: argparse.ArgumentParser) -> None:
    """Add the option of all that runs as root: do it even if others may change the code."""
    parser.add_argument(
        ownership.SWITCH,
        action="store_true",
        help="run code that others than root may change: for developers, who are root's equals",
    )


def print_lines(lines: Iterable[str]) -> int:
    """Write a command's lines to standard output and return 0, even if the reader stops early."""
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. Without this, Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def fail(program: str, message: str, status: int) -> int:
    """Say on standard error in one line why ``program`` ends; return its exit ``status``."""
    sys.stderr.write(f"{program}: {one_line(message)}\n")
    return status


def uid_of(user: str) -> int | None:
    """Return the uid of ``user``, None if there is no such user. Raises ConfigError."""
    try:
        account = accounts.user(user)
    except accounts.AccountsError as error:
        raise ConfigError(str(error)) from None
    return None if account is None else account.pw_uid


def _log(config: Config) -> Log:
    try:
        return Log(config.log_level, config.log_file)
    except OSError as error:
        raise StartError(
            f"{config.log_file}: {error.strerror}; choose another --log-file"
        ) from None


def _publisher_account(config: Config) -> tuple[int, int]:
    try:
        account = accounts.user(config.publisher_user)
    except accounts.AccountsError as error:
        raise StartError(str(error)) from None
    if account is None:
        raise StartError(
            f"there is no user {config.publisher_user!r}; create it: useradd --system "
            f"--user-group --no-create-home --shell /usr/sbin/nologin {config.publisher_user}"
        )
    if account.pw_uid == 0:
        raise StartError(f"publisher_user {config.publisher_user!r} is root; name another user")
    return account.pw_uid, account.pw_gid


def _check_access_group(config: Config) -> None:
    """Accept the default if there is no such group: then only root sees every process."""
    try:
        found = accounts.group(config.access_group)
    except accounts.AccountsError as error:
        raise StartError(str(error)) from None
    if found is not None:
        return
    if config.access_group != Config().access_group:
        raise StartError(
            f"access_group: there is no group {config.access_group!r}; create it "
            f"(groupadd --system {config.access_group}), or name another"
        )
    logging.getLogger("pbmond").info(
        "there is no group %s: only root sees every process", config.access_group
    )


def _check_rights(*, allow_unsafe_code: bool) -> None:
    """Raise StartError unless we have the rights we need, and nobody else may change our code."""
    if os.geteuid() != 0:
        raise StartError("must run as root: use sudo, or the systemd service")
    if find_spec("numpy") is None:  # as where pipx installed the client
        raise StartError(
            "this installation of pbmon has what the client needs, and not what the daemon needs: "
            "install the package pbmond or run packaging/quickstart; or pip install 'pbmon[daemon]'"
        )
    trials.raise_limits()
    lacking = refusals.lacking(trials.facts())  # without the host's /proc nothing can be looked at
    if lacking is not None:
        raise StartError(lacking)
    unsafe = ownership.refusal()
    if unsafe is not None:
        if not allow_unsafe_code:
            raise StartError(unsafe)
        logging.getLogger("pbmond").warning("%s", ownership.accepted(unsafe))


def _serve(config: Config, files: Log, *, allow_unsafe_code: bool) -> None:
    given = given_sockets.take()
    _check_rights(allow_unsafe_code=allow_unsafe_code)
    _confine()
    account = _publisher_account(config)
    _check_access_group(config)
    hangup_ends = config.log_file is None and sys.stderr.isatty()
    log = logging.getLogger("pbmond")
    with (
        Signals(files.reopen, hangup_ends=hangup_ends) as signals,
        hold(config.run_dir) as listener,
        Starter(listener, *account, config.access_group, log) as starter,
    ):
        confine_loading()
        # Otherwise numpy starts a thread per core, each with buffers of its own, and with
        # capabilities that confine_collector does not drop.
        for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[variable] = "1"
        give_large_blocks_back()
        if config.tables_bytes > _LARGE_TABLES:
            log.info("making tables of %d MiB, which takes a while", config.tables_bytes >> 20)
        try:
            attaching = Attaching(config, log, allow_unsafe_code=allow_unsafe_code)
            from pbmond.daemon import serve  # noqa: PLC0415 - numpy, while the loader runs

            serve(config, attaching, starter, signals, given)
        except (AttachError, PublisherError) as error:
            raise StartError(str(error)) from None


def _confine() -> None:
    try:
        library()
        confine_daemon()
    except NoSeccompError as error:
        raise StartError(str(error)) from None
    except OSError as error:
        raise StartError(f"privileges cannot be given up: {error.strerror}") from None
