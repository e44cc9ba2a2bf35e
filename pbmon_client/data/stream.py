"""Turns messages into the snapshots to show: each once, at the display interval."""

from __future__ import annotations

from pbmon_client.data import model, rates
from pbmon_client.data.columns import UserName
from pbmon_client.data.users import user_name
from pbmond.wire import Message

#: A daemon counts as silent after this many of its intervals, plus this many seconds.
_SILENT_INTERVALS = 3
_SILENT_S = 1.0
#: The same while its interval is unknown: the first message of a run does not have it.
_SILENT_FIRST_S = 10.0
#: The same at most: no daemon's interval is longer than an hour, but one may be the host's sleep.
_SILENT_LAST_S = 3 * 3600.0
_MOST_REASONS = 1000


class Stream:
    """Takes the messages of one topic as they come; ``uid`` is the viewer's."""

    def __init__(self, selection: model.Selection, uid: int, user: UserName = user_name) -> None:
        self._selection = selection
        self._uid = uid
        self._user = user
        self._scope = ""
        self._last: Message | None = None
        self._usual_ns = 0  # between messages; 0: not known yet
        self._shown: Message | None = None  # as it came, with the daemon's own rates
        self._reasons: list[str] = []  # why snapshots since then were incomplete

    @property
    def last(self) -> Message | None:
        """The last message that was new, None before the first."""
        return self._last

    @property
    def patience_s(self) -> float:
        """How long to wait for the next message before the daemon is called silent."""
        if not self._usual_ns:
            return _SILENT_FIRST_S
        after_s = _SILENT_S + _SILENT_INTERVALS * self._usual_ns / 1e9
        return min(after_s, _SILENT_LAST_S)

    def take(self, message: Message, scope: str, interval_s: float | None) -> model.Snapshot | None:
        """Return the snapshot to show now, if any; an interval of None shows every message."""
        if scope != self._scope:  # the wider scope was granted after all, and repeats the numbers
            self.forget()
            self._scope = scope
        if not rates.newer(message, self._last):
            return None
        # The shorter of two: the one after a pause of the daemon says nothing about the next.
        before_ns = 0 if self._last is None else self._last.interval_ns
        self._usual_ns = min(before_ns or message.interval_ns, message.interval_ns)
        self._last = message
        every = dict.fromkeys([*self._reasons, *message.health.get("reasons", [])])
        self._reasons = list(every)[:_MOST_REASONS]
        timed = message
        if interval_s is not None:
            if not rates.due(message, self._shown, round(interval_s * 1e9)):
                return None
            timed = rates.over_interval(message, self._shown, scope)
        timed = rates.complete(timed, self._shown, self._reasons)
        self._shown, self._reasons = message, []
        return model.snapshot_of(timed, self._selection, self._uid, scope, self._user)

    def forget(self) -> None:
        """Start again, as with other tables."""
        self._last = self._shown = None
        self._reasons = []
