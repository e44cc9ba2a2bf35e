"""The command ``pbmon-client export``: checks that what it needs is installed, and pushes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from pbmon_client.command_line import complain
from pbmon_client.export import options
from pbmon_client.subscription import (
    SubscriptionError,
    SubscriptionRefused,
    wrong_schema_words,
)
from pbmond.wire import WireError

#: What the extra pbmon[otlp] brings.
_NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def main(arguments: Sequence[str]) -> int:
    """Push until the end; return the exit status. Mistakes in ``arguments`` are SystemExit 2."""
    chosen = options.parse(arguments)
    if not all(map(_is_installed, _NEEDED)):
        return complain("export needs the OpenTelemetry SDK: pip install 'pbmon[otlp]'")
    from pbmon_client.export import push  # noqa: PLC0415 - loads the SDK

    try:
        push.run(chosen)
    except (SubscriptionError, SubscriptionRefused) as error:
        return complain(str(error))
    except WireError as error:
        return complain(wrong_schema_words(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a package that it is in
        return False
