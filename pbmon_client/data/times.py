"""Times and durations as people write them: 03:12, 2h ago, yesterday 14:00, 2026-11-25 03:12.

Its own small grammar rather than a library. dateparser takes 23:59 for one that is yet to come, "3"
and "may" for days of some month, and half a second for its first text; dateutil knows neither "2h
ago" nor "yesterday", and takes "monday 8:00" for the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
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
#: How a time begins that has no date.
_DATELESS: Final = re.compile("[0-9]{1,2}:")
#: All times are before it, in the year 2242: their nanoseconds are signed numbers of 64 bits.
END_S: Final = 1 << 33


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that was read, in seconds of the epoch; ``remark`` says what was not plain about it.

    An end that has no date comes ``after``.
    """

    seconds: int
    after: int
    remark: str = ""


def moment(text: str, now_s: float, zone: tzinfo | None = None, *, after: int | None = None) -> int:
    """Return a time as whole seconds of the epoch: see ``read``."""
    return read(text, now_s, zone, after=after).seconds


def read(
    text: str, now_s: float, zone: tzinfo | None = None, *, after: int | None = None
) -> Moment:
    """Return a time as whole seconds of the epoch, rounded down. ``zone`` None is the local one.

    Without a date, 03:12 is the last time that it was 03:12; with ``after``, the first time after
    those seconds of the epoch. A day alone is its midnight, a weekday the last one. A d in "-1d" is
    24 hours. A local time that exists twice, because clocks were put back, is the first of the two
    (that is after ``after``); one that clocks skipped is as much later: 02:30 is then 03:30. A zone
    may follow (Z, +01:00). ValueError with a message for people.
    """
    plain = _plainly(text)
    try:
        written = _moment(plain, now_s, zone, after)
        found = _settled(written, after) if isinstance(written, datetime) else written
    except (ValueError, OverflowError, OSError) as error:
        why = str(error).split(":")[0]
        raise ValueError(f"{_quoted(text)} is not a time: {why}; times: {FORMS}") from None
    if found is None:
        raise ValueError(f"{_quoted(text)} is not a time; times: {FORMS}")
    if not 0 <= found.seconds < END_S:
        raise ValueError(f"{_quoted(text)} is not a time between the years 1970 and 2242")
    if after is not None and _DATELESS.match(plain) and not found.remark:
        return _said_if_tomorrow(found, plain, now_s, zone)
    return found


def with_remarks(words: str, *moments: Moment) -> str:
    """Add what was not plain about the times that some words are about."""
    return "; ".join([words, *(each.remark for each in moments if each.remark)])


def duration(text: str) -> int:
    """Return a duration in whole seconds, at least one: 90s, 10m, 1h30m, 2d; a number is seconds.

    A day has 24 hours. ValueError with a message for people.
    """
    plain = _plainly(text)
    seconds = _duration(f"{plain}s" if plain[-1:].isdigit() else plain)
    if seconds is None or not seconds.is_integer() or not 1 <= seconds < END_S:
        raise ValueError(
            f"{_quoted(text)} is not a duration of whole seconds; durations: {DURATIONS}"
        )
    return int(seconds)


def _plainly(text: str) -> str:
    """Return a text in lower case and with single spaces; "" if it cannot be a time."""
    return " ".join(text.lower().split()) if text.isascii() and text.isprintable() else ""


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _duration(plain: str) -> float | None:
    """Return seconds, which may be a fraction; None if this is not a duration."""
    if not _DURATION.fullmatch(plain):
        return None
    parts = re.findall(_PART, plain)
    if any(unit not in _UNITS for _number, unit in parts):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _moment(
    plain: str, now_s: float, zone: tzinfo | None, after: int | None
) -> Moment | datetime | None:
    """Return a time, or what clocks of ``zone`` show then; None if this is neither."""
    if plain == "now":
        return _plain(int(now_s))
    if re.fullmatch("@[0-9]{1,12}|[0-9]{10}", plain):
        return _plain(int(plain.removeprefix("@")))
    if plain.startswith("-") or plain.endswith(" ago"):
        back = _duration(plain[1:] if plain.startswith("-") else plain.removesuffix(" ago"))
        return None if back is None else _plain(int(now_s - back))
    if said := _ZONE.fullmatch(plain):
        plain, zone = said[1], _zone(said)
    return _on_calendar(plain, now_s, zone, after)


def _zone(said: re.Match[str]) -> tzinfo:
    if said[2]:
        return UTC
    offset = timedelta(hours=int(said[4]), minutes=int(said[5] or 0))
    return timezone(-offset if said[3] == "-" else offset)


def _on_calendar(
    plain: str, now_s: float, zone: tzinfo | None, after: int | None
) -> datetime | None:
    found = _CLOCK.fullmatch(plain)
    if found is None:
        day = _day(plain, now_s, time(), zone)
        return _iso(plain, zone) if day is None else datetime.combine(day, time(), zone)
    clock = time(int(found[2]), int(found[3]), int(found[4] or 0))
    if found[1] is None:
        return _nearest(clock, now_s, zone, after)
    day = _day(found[1], now_s, clock, zone)
    return None if day is None else datetime.combine(day, clock, zone)


def _nearest(clock: time, now_s: float, zone: tzinfo | None, after: int | None) -> datetime:
    """Return the last time it was so late, or the first time after ``after``."""
    today = datetime.combine(_date(now_s if after is None else after, zone), clock, zone)
    first, second = _seconds(today)
    if after is None:
        return today if first <= now_s else today - timedelta(1)
    return today if max(first, second) > after else today + timedelta(1)


def _day(word: str, now_s: float, clock: time, zone: tzinfo | None) -> date | None:
    """Return the day of a word or of an ISO date; None if it is neither."""
    today = _date(now_s, zone)
    if word in ("today", "yesterday"):
        return today - timedelta(word == "yesterday")
    for number, name in enumerate(_WEEKDAYS):
        if word in (name, name[:3]):
            day = today - timedelta((today.weekday() - number) % 7)
            comes, _ = _seconds(datetime.combine(day, clock, zone))
            return day if comes <= now_s else day - timedelta(7)
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}", word):
        return date.fromisoformat(word)
    return None


def _iso(plain: str, zone: tzinfo | None) -> datetime | None:
    """Read what ISO 8601 allows beside the forms above, such as 20261125T031200."""
    try:
        written = datetime.fromisoformat(plain.upper())
    except ValueError:
        return None
    return datetime.combine(written.date(), written.time(), zone)


def _date(seconds: float, zone: tzinfo | None) -> date:
    return datetime.fromtimestamp(seconds, zone).date()


def _plain(seconds: int) -> Moment:
    return Moment(seconds, seconds)


def _seconds(written: datetime) -> tuple[int, int]:
    """Return when clocks show a time: the first and the second time, which mostly are the same.

    Of one that clocks skipped, the second is before the first, which is as much later. A datetime
    without a zone is a local time.
    """
    first, second = (int(written.replace(fold=fold).timestamp() // 1) for fold in (0, 1))
    return first, second


def _settled(written: datetime, after: int | None) -> Moment:
    """Decide when it is that clocks show a time, and say so if that is not plain."""
    first, second = _seconds(written)
    when = f"{written:%H:%M} on {written:%Y-%m-%d}"
    if second < first:
        clock = datetime.fromtimestamp(first, written.tzinfo)
        remark = f"{when} was skipped, as clocks were put forward: it is read as {clock:%H:%M}"
        return Moment(first, first - 1, remark)
    if first < second:
        is_second = after is not None and first <= after
        seconds = second if is_second else first
        zone = f"{datetime.fromtimestamp(seconds, written.tzinfo).astimezone(written.tzinfo):%z}"
        which = "second" if is_second else "first"
        remark = (
            f"{when} came twice, as clocks were put back: it is read as the {which}, "
            f"{written:%H:%M}{zone[:3]}:{zone[3:5]}"
        )
        return Moment(seconds, seconds, remark)
    return _plain(first)


def _said_if_tomorrow(end: Moment, plain: str, now_s: float, zone: tzinfo | None) -> Moment:
    """Say it if an end that has no date is not before tomorrow, which few mean."""
    day = _date(end.seconds, zone)
    if day <= _date(now_s, zone):
        return end
    remark = f"{plain.upper()} is read as the first one after the beginning, on {day}"
    return replace(end, remark=remark)


def zone_if_twice(local: datetime) -> str:
    """Return the name of a local time's zone, after a space, if clocks show the time twice."""
    first, second = _seconds(local.replace(tzinfo=None))
    return f" {local:%Z}" if first < second else ""
