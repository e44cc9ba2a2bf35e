"""The settings file: it round-trips, and a broken one is reported and left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.present.view_columns import CLASSES
from pbmon_client.present.views import BY_NAME
from pbmon_client.tui.session.palette import THEMES
from pbmon_client.tui.session.settings import (
    Settings,
    SettingsError,
    default_path,
    load,
    save,
    write,
)

VIEWS = st.sampled_from(sorted(BY_NAME))
NAMES = st.text(st.characters(codec="utf-8"), max_size=20)
SETTINGS = st.builds(
    Settings,
    theme=st.none() | st.sampled_from(THEMES),
    view=VIEWS,
    totals=st.booleans(),
    names=st.booleans(),
    sort=st.dictionaries(VIEWS, st.tuples(st.sampled_from(["busiest", "net_tx"]), st.booleans())),
    hidden=st.dictionaries(VIEWS, st.lists(NAMES, max_size=3))
    | st.fixed_dictionaries({"": st.lists(st.sampled_from(CLASSES), unique=True)}),
    seen=st.lists(NAMES, max_size=3),
)


@given(SETTINGS)
def test_what_is_saved_is_loaded_again(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> None:
    path = tmp_path_factory.mktemp("settings") / "deeper" / "client.toml"
    save(path, settings)
    assert load(path) == settings
    assert [each.name for each in path.parent.iterdir()] == ["client.toml"]


def test_without_a_file_the_settings_are_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml") == Settings()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("totals = ", "Invalid value"),
        ("totals = 1", "totals must be true or false"),
        ("theme = 'pink'", "theme must be dark or light or mono"),
        ("view = 7", "view must be the name of a view"),
        ("sort = []", "sort must be a table"),
        ("sort = {processes = 3}", "sort must be columns by view"),
        ("hidden = {classes = ['nets']}", "hidden.classes must be of net, file"),
        ("hidden = {nowhere = []}", "hidden must be columns by view"),
        ("seen = [1]", "seen must be a list of texts"),
        ("colour = 1", "unknown key colour"),
        ('a = "\x1b"', "llegal character"),
    ],
)
def test_a_broken_file_is_reported_in_one_printable_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "client.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"client\.toml") as caught:
        load(path)
    message = str(caught.value)
    assert problem in message
    assert message.startswith("settings ignored: ")
    assert message.isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("settings") / "client.toml"
    path.write_bytes(data)
    message = ""
    try:
        load(path)
    except SettingsError as error:
        message = str(error)
    assert message.isprintable()


def test_a_folder_in_its_place_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="settings ignored"):
        load(tmp_path)
    with pytest.raises(SettingsError, match="cannot save"):
        save(tmp_path, Settings())


def test_the_file_belongs_in_the_users_configuration_directory() -> None:
    assert default_path({"HOME": "/home/mara"}) == Path("/home/mara/.config/pbmon/client.toml")
    assert default_path({"HOME": "/home/mara", "XDG_CONFIG_HOME": "/etc/mine"}) == Path(
        "/etc/mine/pbmon/client.toml"
    )
    assert default_path({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}) == Path(
        "/h/.config/pbmon/client.toml"
    )


def test_the_file_says_where_it_comes_from() -> None:
    assert write(Settings()).startswith("# Written by pbmon-client")
