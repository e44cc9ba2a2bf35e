"""What a query is answered with, in the process that is its own.

The store's index takes longer to read than most queries, so the server has it, for all of them.
"""

from __future__ import annotations

import os
from pathlib import Path

from pbmon_client.history.past import Kept, Past, Series
from pbmon_client.history.queries import Query, parse_query
from pbmon_client.history.replies import pack_refusal, pack_reply
from pbmon_client.past.budget import QueryOutcome
from pbmond.group_members import is_member
from pbmond.wire import Message


class PastAnswers:
    """Answers about the store in a directory. ``group`` sees everything."""

    def __init__(self, directory: Path, group: str) -> None:
        self._directory = directory
        self._group = group
        self._past: Past | None = None

    def prepare(self) -> None:
        """Take note of what was recorded since, before a query is answered in a child.

        Only what is new is read. What is wrong with it, the child says.
        """
        try:
            if self._past is None:
                self._past = Past(self._directory)
            else:
                self._past.refresh()
        except Exception:  # noqa: BLE001 - whatever it is, only queries may fail of it
            self._past = None

    def answer(self, uid: int, body: bytes) -> tuple[QueryOutcome, bytes]:
        """Return whose rows a user sees, and the reply to the bytes that the user sent.

        Root, our own user and the group see everything, others what was recorded of their own.
        """
        # A directory service may hang. Then only this query does.
        sees_all = uid in (0, os.getuid()) or is_member(self._group, uid)
        try:
            query = parse_query(body)
            past = self._past or Past(self._directory)
            value = _value(past.seen_by(None if sees_all else uid), query)
            reply = pack_reply("all" if sees_all else "own", value)
        except OSError as error:
            reply = pack_refusal(f"cannot read the history in {self._directory}: {error.strerror}")
        except ValueError as error:  # WireError too
            reply = pack_refusal(str(error))
        except MemoryError:
            reply = pack_refusal("that needs too much memory: ask for a shorter range")
        return QueryOutcome.ALL if sees_all else QueryOutcome.OWN, reply


def _value(past: Past, query: Query) -> Message | Series | Kept | None:
    given = query.arguments
    if query.method == "message":
        return past.message(**given)
    if query.method == "frame":
        return past.frame(**given)
    if query.method == "series":
        return past.series(**given)
    return past.kept() if query.method == "kept" else None
