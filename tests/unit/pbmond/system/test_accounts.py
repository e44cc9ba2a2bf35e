"""Users of the host by name, also when the user database hangs."""

from __future__ import annotations

import grp
import pwd
import threading
from collections.abc import Iterator

import pytest

from pbmond.cli import uid_of
from pbmond.config import ConfigError
from pbmond.system import accounts


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    goes_on = threading.Event()
    monkeypatch.setattr(pwd, "getpwnam", lambda _: goes_on.wait(60))
    monkeypatch.setattr(grp, "getgrnam", lambda _: goes_on.wait(60))
    monkeypatch.setattr(accounts, "LIMIT_S", 0.05)
    yield
    goes_on.set()


def test_a_user_is_found_and_a_missing_one_is_none() -> None:
    root = accounts.user("root")
    assert root is not None
    assert root.pw_uid == 0
    assert accounts.user("no such user") is None
    assert accounts.user("nul\0l") is None
    group = accounts.group("root")
    assert group is not None
    assert group.gr_gid == 0
    assert accounts.group("no such group") is None


@pytest.mark.usefixtures("hanging")
def test_a_database_that_hangs_is_an_error_of_one_line() -> None:
    with pytest.raises(accounts.AccountsError, match=r"does not say within 0\.05 s who 'pbmon' is"):
        accounts.user("pbmon")
    with pytest.raises(accounts.AccountsError, match=r"the group database .* who is in 'pbmon'"):
        accounts.group("pbmon")


@pytest.mark.usefixtures("hanging")
def test_a_user_in_the_configuration_is_not_waited_for_without_end() -> None:
    with pytest.raises(ConfigError, match="does not say"):
        uid_of("www-data")
