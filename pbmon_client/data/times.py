"""Times and durations as people write them: 03:12, 2h ago, yesterday 14:00, 2026-11-25 03:12.

Its own small grammar rather than a library. dateparser takes 23:59 for one that is yet to come, "3"
and "may" for days of some month, and half a second for its first text; dateutil knows neither "2h
ago" nor "yesterday", and takes "monday 8:00" for the next one.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final

#: The forms of a time, for help and messages.
FORMS: Final = "03:12, yesterday 14:00, monday 8:00, 2026-11-25 03:12, 2h ago, -1d, @1790000000"
#: The forms of a duration, likewise.
DURATIONS: Final = "90s, 10m, 1h, 1h30m or 2d"

_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PART: Final = r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([a-z]+)"
_DURATION: Final = re.compile(rf"{_PART}(?: ?{_PART})*")
_ZONE: Final = re.compile(
    r"(.*[:t][0-9.,]+) ?(?:(z|utc|gmt)|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)"
)
_CLOCK: Final = re.compile(
    r"(?:(\S+?)[ t])?([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)?"
)
#: Times of the epoch end with the year 9999.
_END: Final = 253_402_300_800


def moment(text: str, now_s: float, zone: tzinfo | None = None, *, after: int | None = None) -> int:
    """Return a time as whole seconds of the epoch, rounded down. ``zone`` None is the local one.

    Without a date, 03:12 is the last time that it was 03:12; with ``after``, the first time after
    those seconds of the epoch. A day alone is its midnight, a weekday the last one. A d in "-1d" is
    24 hours. A local time that exists twice, because clocks were put back, is the first of the two;
    one that clocks skipped is as much later: 02:30 is then 03:30. A zone may follow (Z, +01:00).
    ValueError with a message for people.
    """
    plain = " ".join(text.lower().split())
    try:
        seconds = _moment(plain, now_s, zone, after) if plain.isascii() else None
    except (ValueError, OverflowError, OSError) as error:
        why = str(error).split(":")[0]
        raise ValueError(f"{_quoted(text)} is not a time: {why}; times: {FORMS}") from None
    if seconds is None:
        raise ValueError(f"{_quoted(text)} is not a time; times: {FORMS}")
    if not 0 <= seconds < _END:
        raise ValueError(f"{_quoted(text)} is not a time between the years 1970 and 9999")
    return seconds


def duration(text: str) -> int:
    """Return a duration in whole seconds, at least one: 90s, 10m, 1h30m, 2d; a number is seconds.

    A day has 24 hours. ValueError with a message for people.
    """
    plain = " ".join(text.lower().split())
    seconds = _duration(f"{plain}s" if plain[-1:].isdigit() else plain)
    if seconds is None or not seconds.is_integer() or not 1 <= seconds < _END:
        raise ValueError(
            f"{_quoted(text)} is not a duration of whole seconds; durations: {DURATIONS}"
        )
    return int(seconds)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _duration(plain: str) -> float | None:
    """Return seconds, which may be a fraction; None if this is not a duration."""
    if not plain.isascii() or not _DURATION.fullmatch(plain):
        return None
    parts = re.findall(_PART, plain)
    if any(unit not in _UNITS for _number, unit in parts):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _moment(plain: str, now_s: float, zone: tzinfo | None, after: int | None) -> int | None:
    if plain == "now":
        return int(now_s)
    if re.fullmatch("@[0-9]{1,12}|[0-9]{10}", plain):
        return int(plain.removeprefix("@"))
    if plain.startswith("-") or plain.endswith(" ago"):
        back = _duration(plain[1:] if plain.startswith("-") else plain.removesuffix(" ago"))
        return None if back is None else int(now_s - back)
    if said := _ZONE.fullmatch(plain):
        plain, zone = said[1], _zone(said)
    return _on_calendar(plain, now_s, zone, after)


def _zone(said: re.Match[str]) -> tzinfo:
    if said[2]:
        return UTC
    offset = timedelta(hours=int(said[4]), minutes=int(said[5] or 0))
    return timezone(-offset if said[3] == "-" else offset)


def _on_calendar(plain: str, now_s: float, zone: tzinfo | None, after: int | None) -> int | None:
    found = _CLOCK.fullmatch(plain)
    if found is None:
        day = _day(plain, now_s, time(), zone)
        return _iso(plain, zone) if day is None else _seconds(day, time(), zone)
    clock = time(int(found[2]), int(found[3]), int(found[4] or 0))
    if found[1] is None:
        return _nearest(clock, now_s, zone, after)
    day = _day(found[1], now_s, clock, zone)
    return None if day is None else _seconds(day, clock, zone)


def _nearest(clock: time, now_s: float, zone: tzinfo | None, after: int | None) -> int:
    """Return the last time it was so late, or the first time after ``after``."""
    today = _date(now_s if after is None else after, zone)
    seconds = _seconds(today, clock, zone)
    if after is None:
        return seconds if seconds <= now_s else _seconds(today - timedelta(1), clock, zone)
    return seconds if seconds > after else _seconds(today + timedelta(1), clock, zone)


def _day(word: str, now_s: float, clock: time, zone: tzinfo | None) -> date | None:
    """Return the day of a word or of an ISO date; None if it is neither."""
    today = _date(now_s, zone)
    if word in ("today", "yesterday"):
        return today - timedelta(word == "yesterday")
    for number, name in enumerate(_WEEKDAYS):
        if word in (name, name[:3]):
            day = today - timedelta((today.weekday() - number) % 7)
            return day if _seconds(day, clock, zone) <= now_s else day - timedelta(7)
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}", word):
        return date.fromisoformat(word)
    return None


def _iso(plain: str, zone: tzinfo | None) -> int | None:
    """Read what ISO 8601 allows beside the forms above, such as 20261125T031200."""
    try:
        read = datetime.fromisoformat(plain.upper())
    except ValueError:
        return None
    return _seconds(read.date(), read.time(), zone)


def _date(seconds: float, zone: tzinfo | None) -> date:
    return datetime.fromtimestamp(seconds, zone).date()


def _seconds(day: date, clock: time, zone: tzinfo | None) -> int:
    # A datetime without zone is a local time; fold=0 is the first of two, and for one that clocks
    # skipped the offset before.
    return int(datetime.combine(day, clock, zone).timestamp() // 1)
