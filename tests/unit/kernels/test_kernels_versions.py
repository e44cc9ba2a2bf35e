"""Claims about which of Debian's kernels a series means."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.kernels.versions import (
    Build,
    NoBuildError,
    Package,
    builds,
    choose,
    read_index,
    version_key,
)

#: As in Debian's lists, shortened: a kernel in one package, one in two, one in four.
INDEX = """\
Package: linux-image-6.1.0-56-amd64
Source: linux-signed-amd64 (6.1.192+2)
Version: 6.1.192-2
Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120) | linux-initramfs-tool
Description: Linux 6.1 for 64-bit PCs (signed)

Package: linux-image-6.18.15+deb13-amd64
Version: 6.18.15-1~bpo13+1
Depends: dracut | linux-initramfs-tool, kmod, linux-base-6.18.15+deb13-amd64 (= 6.18.15-1~bpo13+1)

Package: linux-image-7.3.4+deb13-amd64
Version: 7.3.4-1~bpo13+1
Depends: linux-base-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1), linux-binary-7.3.4+deb13-amd64 \
(= 7.3.4-1~bpo13+1), linux-modules-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)

Package: linux-binary-7.3.4+deb13-amd64
Version: 7.3.4-1~bpo13+1

Package: linux-modules-7.3.4+deb13-amd64
Version: 7.3.4-1~bpo13+1
Depends: kmod

Package: linux-image-7.0.13+deb13-amd64
Version: 7.0.13-1~bpo13+1
Depends: linux-binary-7.0.13+deb13-amd64 (= 7.0.13-1~bpo13+1), linux-modules-7.0.13+deb13-amd64 \
(= 7.0.13-1~bpo13+1)

Package: linux-binary-7.0.13+deb13-amd64
Version: 7.0.13-1~bpo13+1

Package: linux-image-6.1.0-56-cloud-amd64
Version: 6.1.192-2

Package: linux-image-6.1.0-56-rt-amd64
Version: 6.1.192-2

Package: linux-image-6.1.0-56-amd64-unsigned
Version: 6.1.192-2

Package: linux-image-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)

Package: linux-libc-dev
Version: 6.1.192-2
"""


def known() -> list[Build]:
    return builds(read_index(INDEX, "bookworm"))


def image(release: str, version: str, suite: str = "trixie") -> Package:
    return Package(f"linux-image-{release}", version, suite, ("kmod",))


def test_only_images_without_flavour_and_with_all_their_parts_are_builds() -> None:
    assert [build.release for build in known()] == [
        "6.1.0-56-amd64",
        "6.18.15+deb13-amd64",
        "7.3.4+deb13-amd64",
    ]


def test_a_build_in_several_packages_needs_image_binary_and_modules_of_one_version() -> None:
    *_, split = known()
    version = "7.3.4-1~bpo13+1"
    assert split.packages == tuple(
        f"linux-{part}-7.3.4+deb13-amd64={version}" for part in ("image", "binary", "modules")
    )
    whole = known()[0]
    assert whole.packages == ("linux-image-6.1.0-56-amd64=6.1.192-2",)


def test_a_flavour_is_the_end_of_a_name() -> None:
    releases = ("6.12.117+deb13-arm64", "6.12.117+deb13-arm64-16k", "6.12.117+deb13-cloud-arm64")
    images = [image(release, "6.12.117-1") for release in releases]
    assert [build.release for build in builds(images, "arm64")] == [releases[0]]
    assert [build.release for build in builds(images, "arm64-16k")] == [releases[1]]


def test_a_part_of_another_version_does_not_do() -> None:
    other = INDEX.replace(
        "Package: linux-modules-7.3.4+deb13-amd64\nVersion: 7.3.4-1",
        "Package: linux-modules-7.3.4+deb13-amd64\nVersion: 7.3.4-2",
    )
    assert [build.series for build in builds(read_index(other, "sid"))] == ["6.1", "6.18"]


def test_a_series_means_its_newest_build() -> None:
    found = builds(
        [
            image("6.1.0-9-amd64", "6.1.27-1"),
            image("6.1.0-56-amd64", "6.1.192-2"),
            image("6.1.0-0.deb11.52-amd64", "6.1.180-1~deb11u1"),
            image("6.12.117+deb12-amd64", "6.12.117-1~deb12u1"),
            image("6.12.117+deb13-amd64", "6.12.117-1"),
        ]
    )
    assert choose("6.1", found).release == "6.1.0-56-amd64"
    assert choose("6.12", found).release == "6.12.117+deb13-amd64"


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("5.10", "5.10"), ("5.13", "5.10"), ("6.2", "6.1"), ("6.19", "6.18"), ("7.1", "7.2"),
     ("6.15", "6.18"), ("8.0", "7.2"), ("4.19", "5.10")],
)  # fmt: skip
def test_a_series_without_a_build_means_the_nearest(wanted: str, nearest: str) -> None:
    releases = ("5.10.0-46", "6.1.0-56", "6.12.117+deb13", "6.18.15+deb13", "7.2.13+deb14")
    found = builds(image(f"{release}-amd64", "1.0-1") for release in releases)
    assert choose(wanted, found).series == nearest


def test_sid_is_what_sid_has_and_newest_what_any_suite_has() -> None:
    found = builds(
        [
            image("7.2.13+deb14-amd64", "7.2.13-1", "sid"),
            image("7.2.13+deb14-amd64", "7.2.13-1", "experimental"),
            image("7.3.4+deb13-amd64", "7.3.4-1~bpo13+1", "trixie-backports"),
        ]
    )
    assert len(found) == 2
    assert choose("sid", found).series == "7.2"
    assert choose("newest", found).series == "7.3"


@pytest.mark.parametrize("series", ["sid", "newest", "6.1"])
def test_where_there_is_nothing_to_choose_it_says_so(series: str) -> None:
    with pytest.raises(NoBuildError, match=f"^{series}: "):
        choose(series, [])


def test_versions_compare_as_dpkg_compares_them() -> None:
    ordered = [
        "6.1.0~rc1-1", "6.1.9-1", "6.1.27-1", "6.1.180-1~deb11u1", "6.1.180-1", "6.1.180-1+b1",
        "6.1.192-2", "6.12.90-1~bpo12+1", "6.12.90-2~bpo12+1", "6.12.117-1~deb12u1", "6.12.117-1",
    ]  # fmt: skip
    shuffled = random.Random(7).sample(ordered, len(ordered))
    assert sorted(shuffled, key=version_key) == ordered
    assert all(version_key(a) < version_key(b) for a, b in itertools.pairwise(ordered))
