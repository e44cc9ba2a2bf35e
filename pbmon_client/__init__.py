"""pbmon_client: the unprivileged viewer of the snapshots that pbmond publishes."""

from pbmond.wire import SCHEMA

__all__ = ["SCHEMA"]
