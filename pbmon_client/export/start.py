"""The command ``pbmon-client export``: checks that what it needs is installed, and pushes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from pbmon_client.data.text import safe_text
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
        return _failed("export needs the OpenTelemetry SDK: pip install 'pbmon[otlp]'")
    from pbmon_client.export import push  # noqa: PLC0415 - loads the SDK

    try:
        push.run(chosen)
    except (SubscriptionError, SubscriptionRefused) as error:
        return _failed(str(error))
    except WireError as error:
        return _failed(wrong_schema_words(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a package that it is in
        return False


def _failed(words: str) -> int:
    if sys.stderr is not None:
        sys.stderr.write(f"pbmon-client: {safe_text(words)}\n")
    return 1
