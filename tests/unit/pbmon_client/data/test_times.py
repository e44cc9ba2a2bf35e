"""Times and durations as people write them, in zones whose clocks change."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.data.times import duration, moment, read

BERLIN = ZoneInfo("Europe/Berlin")
#: Clocks change at other hours, by half an hour, at midnight, and never.
ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"),
    *("Asia/Kathmandu", "Pacific/Apia", "UTC"),
)
#: A Wednesday.
NOW = datetime(2026, 11, 25, 14, 30, tzinfo=BERLIN).timestamp()

zones = st.sampled_from(ZONES).map(ZoneInfo)
nows = st.integers(1_500_000_000, 1_900_000_000)
days = st.dates(datetime(2017, 1, 1).date(), datetime(2030, 1, 1).date())


def berlin(*parts: int, fold: int = 0) -> int:
    return int(datetime(*parts, tzinfo=BERLIN, fold=fold).timestamp())  # type: ignore[misc,arg-type] # parts are no more than 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("03:12", berlin(2026, 11, 25, 3, 12)),
        ("3:12", berlin(2026, 11, 25, 3, 12)),
        ("03:12:30", berlin(2026, 11, 25, 3, 12, 30)),
        ("14:30", berlin(2026, 11, 25, 14, 30)),
        ("14:31", berlin(2026, 11, 24, 14, 31)),
        ("today 9:00", berlin(2026, 11, 25, 9)),
        ("  Today   9:00 ", berlin(2026, 11, 25, 9)),
        ("today", berlin(2026, 11, 25)),
        ("yesterday", berlin(2026, 11, 24)),
        ("yesterday 14:00", berlin(2026, 11, 24, 14)),
        ("monday 8:00", berlin(2026, 11, 23, 8)),
        ("mon 8:00", berlin(2026, 11, 23, 8)),
        ("wednesday 14:00", berlin(2026, 11, 25, 14)),
        ("wednesday 15:00", berlin(2026, 11, 18, 15)),
        ("thursday", berlin(2026, 11, 19)),
        ("saturday 8:00", berlin(2026, 11, 21, 8)),
        ("2026-11-25 03:12", berlin(2026, 11, 25, 3, 12)),
        ("2026-11-25 3:12", berlin(2026, 11, 25, 3, 12)),
        ("2026-11-25T03:12:59", berlin(2026, 11, 25, 3, 12, 59)),
        ("2026-11-25t03:12:59.75", berlin(2026, 11, 25, 3, 12, 59)),
        ("2026-11-25", berlin(2026, 11, 25)),
        ("20261125", berlin(2026, 11, 25)),
        ("20261125T031259", berlin(2026, 11, 25, 3, 12, 59)),
        ("2026-W48-3", berlin(2026, 11, 25)),
        ("2026-11-25T02:12:00Z", berlin(2026, 11, 25, 3, 12)),
        ("2026-11-25 02:12 UTC", berlin(2026, 11, 25, 3, 12)),
        ("2026-11-24T21:12-05:00", berlin(2026, 11, 25, 3, 12)),
        ("2026-11-24 21:12:00.5-05", berlin(2026, 11, 25, 3, 12)),
        ("20261124T2112-0500", berlin(2026, 11, 25, 3, 12)),
        ("02:12Z", berlin(2026, 11, 25, 3, 12)),
        ("yesterday 02:12 UTC", berlin(2026, 11, 24, 3, 12)),
        ("2h ago", berlin(2026, 11, 25, 12, 30)),
        ("2 hours ago", berlin(2026, 11, 25, 12, 30)),
        ("1h30m ago", berlin(2026, 11, 25, 13)),
        ("1 hour 30 minutes ago", berlin(2026, 11, 25, 13)),
        ("1.5h ago", berlin(2026, 11, 25, 13)),
        ("-1d", berlin(2026, 11, 24, 14, 30)),
        ("-90s", berlin(2026, 11, 25, 14, 28, 30)),
        ("-1w", berlin(2026, 11, 18, 14, 30)),
        ("@1790000000", 1_790_000_000),
        ("1790000000", 1_790_000_000),
        ("@0", 0),
        ("now", int(NOW)),
    ],
)
def test_a_time_is_read_as_people_mean_it(text: str, expected: int) -> None:
    assert moment(text, NOW, BERLIN) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a time"),
        ("teatime", "is not a time; times: 03:12,"),
        ("25:00", "hour must be in 0..23"),
        ("03:60", "minute must be in 0..59"),
        ("03:12:60", "second must be in 0..59"),
        ("2026-02-30", "day is out of range for month"),
        ("2026-13-01 00:00", "month must be in 1..12"),
        ("0000-01-01", "year 0 is out of range"),
        ("1969-12-31 00:00Z", "between the years 1970 and 2242"),
        ("99999w ago", "between the years 1970 and 2242"),
        ("999999999999w ago", "between the years 1970 and 2242"),
        ("@999999999999", "between the years 1970 and 2242"),
        ("2242-03-16 12:56:32Z", "between the years 1970 and 2242"),
        ("9999-12-31", "between the years 1970 and 2242"),
        ("2026-11-25T02:12+25:00", "is not a time"),
        ("2026-11-2503", "is not a time"),
        ("3", "is not a time"),
        ("-1", "is not a time"),
        ("--1d", "is not a time"),
        ("-1d ago", "is not a time"),
        ("2 fortnights ago", "is not a time"),
        ("tomorrow", "is not a time"),
        ("yesterday 2h ago", "is not a time"),
        ("\u0660\u0663:12", "is not a time"),  # digits, but Arabic ones
        ("03:12\x1b[2J", r"'03:12\\x1b\[2J' is not a time"),
        ("03:12\n", "is not a time"),
        ("yesterday\x1f03:12", "is not a time"),
        ("9" * 5000, "9…' is not a time"),
    ],
)
def test_what_is_no_time_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        moment(text, NOW, BERLIN)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


def test_a_time_that_exists_twice_is_the_first_of_the_two() -> None:
    # Berlin's clocks go from 03:00 back to 02:00 on 2026-10-25.
    noon = berlin(2026, 10, 25, 12)
    first = moment("2026-10-25 02:30", noon, BERLIN)
    assert first == berlin(2026, 10, 25, 2, 30) == berlin(2026, 10, 25, 2, 30, fold=1) - 3600
    assert moment("02:30", noon, BERLIN) == first
    assert moment("2026-10-25 02:30+01:00", noon, BERLIN) == first + 3600
    assert moment("today 02:30", berlin(2026, 10, 25, 2, 10, fold=1), BERLIN) == first


def test_a_time_that_clocks_skipped_is_as_much_later() -> None:
    # Berlin's clocks go from 02:00 to 03:00 on 2026-03-29.
    noon = berlin(2026, 3, 29, 12)
    assert moment("02:30", noon, BERLIN) == berlin(2026, 3, 29, 3, 30)
    assert moment("today 01:59", noon, BERLIN) + 60 == moment("today 03:00", noon, BERLIN)


def test_yesterday_is_a_day_of_the_calendar_and_minus_1d_is_24_hours() -> None:
    noon = berlin(2026, 10, 25, 12)
    assert moment("yesterday 12:00", noon, BERLIN) == noon - 25 * 3600
    assert moment("-1d", noon, BERLIN) == noon - 24 * 3600


def test_the_end_of_a_range_is_the_first_such_time_after_its_beginning() -> None:
    since = moment("yesterday 23:00", NOW, BERLIN)
    assert moment("01:00", NOW, BERLIN, after=since) == berlin(2026, 11, 25, 1)
    assert moment("23:30", NOW, BERLIN, after=since) == berlin(2026, 11, 24, 23, 30)
    assert moment("23:00", NOW, BERLIN, after=since) == berlin(2026, 11, 25, 23)
    assert moment("today 01:00", NOW, BERLIN, after=since) == berlin(2026, 11, 25, 1)


@pytest.mark.parametrize(
    ("since", "until", "end", "said"),
    [
        ("10:00", "09:00", berlin(2026, 11, 26, 9), "09:00 is read as the first one after"),
        ("10:00", "10:00", berlin(2026, 11, 26, 10), "after the beginning, on 2026-11-26"),
        # Its day is the reader's: 23:30 in London is tomorrow in Berlin.
        ("10:00", "23:30Z", berlin(2026, 11, 26, 0, 30), "23:30Z is read as the first one"),
        # The end of today is plain, and so is a night, and an end that has its day.
        ("10:00", "23:59", berlin(2026, 11, 25, 23, 59), ""),
        ("yesterday 23:00", "01:00", berlin(2026, 11, 25, 1), ""),
        ("10:00", "2026-11-26 09:00", berlin(2026, 11, 26, 9), ""),
    ],
)
def test_an_end_without_a_date_that_is_tomorrows_is_not_plain(
    since: str, until: str, end: int, said: str
) -> None:
    found = read(until, NOW, BERLIN, after=read(since, NOW, BERLIN).after)
    assert (found.seconds, bool(found.remark)) == (end, bool(said))
    assert said in found.remark


@given(zones, nows, st.times())
def test_a_time_of_day_is_the_last_one_before_now(zone: ZoneInfo, now: int, clock: object) -> None:
    text = f"{clock:%H:%M:%S}"
    seconds = moment(text, now, zone)
    # A day has 24 hours, give or take a change of clocks; Apia left out a whole one, in 2011.
    assert now - 26 * 3600 < seconds <= now
    assert moment(text, now, zone) == moment(text, seconds, zone)


@given(zones, days, st.times())
def test_a_local_time_that_exists_reads_back_as_it_was_written(
    zone: ZoneInfo, day: object, clock: object
) -> None:
    text = f"{day} {clock:%H:%M:%S}"
    seconds = moment(text, NOW, zone)
    shown = f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d %H:%M:%S}"
    written = datetime.fromisoformat(text)
    zero = timedelta(0)
    offsets = [written.replace(tzinfo=zone, fold=fold).utcoffset() or zero for fold in (0, 1)]
    later = datetime.fromisoformat(shown) - written
    # PEP 495: the first offset is the smaller one if clocks skipped the time.
    assert later == max(offsets[1] - offsets[0], zero)


@given(zones, st.integers(0, 2_500_000_000))
def test_iso_with_a_zone_and_the_epoch_mean_the_same_second_everywhere(
    zone: ZoneInfo, seconds: int
) -> None:
    written = datetime.fromtimestamp(seconds, zone)
    offset = written.utcoffset()
    assert offset is not None
    if not offset.seconds % 60:  # before 1972 some offsets have seconds, which ISO lacks
        assert moment(written.isoformat(), NOW, ZoneInfo("UTC")) == seconds
    assert moment(f"@{seconds}", NOW, zone) == seconds


@given(st.text())
def test_any_text_is_a_time_or_refused(text: str) -> None:
    for reading in (partial(moment, now_s=NOW, zone=BERLIN), duration):
        try:
            seconds = reading(text)
        except ValueError as error:
            assert str(error).isprintable()  # noqa: PT017 - any of many errors
        else:
            assert seconds >= 0


@pytest.mark.usefixtures("berlin")
@given(days, st.times())
def test_the_local_zone_is_read_like_the_same_zone_by_name(day: object, clock: object) -> None:
    for text in (f"{day} {clock:%H:%M:%S}", f"{clock:%H:%M}", "yesterday", "mon 2:30"):
        assert moment(text, NOW) == moment(text, NOW, BERLIN)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_the_local_zone_changes_its_clocks(day: str) -> None:
    for minutes in range(0, 240, 10):
        text = f"{day} {minutes // 60:02}:{minutes % 60:02}"
        assert moment(text, NOW) == moment(text, NOW, BERLIN)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("1 h 30 min", 5400),
        ("2d", 172_800), ("1w", 604_800), ("60", 60), ("0.5h", 1800), ("1 day", 86_400),
        (" 2 HOURS ", 7200),
    ],
)  # fmt: skip
def test_a_duration_is_read_in_seconds(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-1h", "0.5s", "1.5", "h", "1x", "1h ago", "nan", "inf", "9" * 400]
)
def test_what_is_no_duration_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration of whole seconds; durations: 90s"):
        duration(text)


@given(st.integers(1, 90_000), st.sampled_from(["s", " min", "hours", "d"]))
def test_so_long_ago_and_minus_so_long_are_the_duration_before_now(count: int, unit: str) -> None:
    text = f"{count}{unit}"
    if duration(text) < NOW:
        assert moment(f"{text} ago", NOW) == moment(f"-{text}", NOW)
        assert moment(f"-{text}", NOW) == math.floor(NOW) - duration(text)
