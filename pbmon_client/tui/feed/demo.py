"""A recorded stream in place of the daemon, played at its own pace."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Final

from pbmon_client.data import model
from pbmon_client.data.recording import RecordingError, read
from pbmon_client.data.stream import Stream
from pbmon_client.data.users import user_name
from pbmon_client.tui.feed.messages import Crashed, Failed, FeedRequest, MailboxSource
from pbmon_client.tui.feed.prefetch import prepared
from pbmon_client.tui.feed.render_priority import RenderPriority
from pbmond import wire

#: The least and the longest pause between two snapshots, whatever their times are.
_LEAST_S: Final = 0.05
_MOST_S: Final = 10.0


class Demo(MailboxSource):
    """Plays a file as the daemon's feed does, over and over."""

    def __init__(
        self, path: Path, selection: model.Selection, priority: RenderPriority | None = None
    ) -> None:
        super().__init__()
        self._priority = priority or RenderPriority()
        self._path = path
        self._users: dict[int, str] = {}
        self._stream = Stream(selection, os.geteuid(), self._user)
        self._request = FeedRequest()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo", daemon=True)
        self._thread.start()

    def request(self, request: FeedRequest) -> None:
        """Note what the screen shows; the file has all of it."""
        self._request = request

    def close(self) -> None:
        """End the thread, and close the descriptors."""
        self._stopped.set()
        self._thread.join(timeout=2)
        if not self._thread.is_alive():
            self._mailbox.close()

    def _user(self, uid: int) -> str:
        return self._users.get(uid) or user_name(uid)

    def _run(self) -> None:
        try:
            shift = (0, 0)
            while not self._stopped.is_set():
                shift = self._play(*shift)
                if shift == (0, 0):  # one snapshot stays on the screen
                    return
        except RecordingError as error:
            self._mailbox.put(Failed(str(error)))
        except Exception as error:  # noqa: BLE001 - raised again where the terminal is restored
            self._mailbox.put(Crashed(error))

    def _play(self, shift: int, shift_ns: int) -> tuple[int, int]:
        """Play the file once, continuing the numbers and clocks of the last time.

        Returns the next turn's shift of ``seq`` and of the clocks.
        """
        first: wire.Message | None = None
        before: int | None = None
        for recorded in read(self._path):
            message = recorded.message
            if before is not None:
                pause_s = (message.time_ns - before) / 1e9
                if self._stopped.wait(min(_MOST_S, max(_LEAST_S, pause_s))):
                    break
            before = message.time_ns
            self._users.update(recorded.users)
            first = first or message
            played = replace(
                message,
                seq=message.seq + shift,
                time_ns=message.time_ns + shift_ns,
                now_ns=message.now_ns + shift_ns,
            )
            snapshot = self._stream.take(played, recorded.scope, self._request.interval_s)
            if snapshot is not None:
                self._mailbox.put(prepared(snapshot, self._request, self._priority.yield_to_screen))
        if first is None or first is message:
            return 0, 0
        step_ns = message.interval_ns or 10**9
        return (
            shift + message.seq - first.seq + 1,
            shift_ns + max(0, message.time_ns - first.time_ns) + step_ns,
        )
