"""Claims about what guests are made of: modes, modules, QEMU's command line, packages, options."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pbmond import config
from pbmond.selftest.workloads import NAMES
from tests.kernels import apt, cache, initramfs, modes, qemu
from tests.kernels.__main__ import DEFAULT, SHORT, main
from tests.kernels.builds import Kernel
from tests.kernels.machines import AMD64, ARM64, ARM64_16K, Machine
from tests.kernels.versions import Build

BUILD = Build("6.1.0-56-amd64", "6.1.192-2", frozenset(), ())


def test_every_mode_is_met_and_none_twice() -> None:
    chosen = {"sockets": "tracepoint", "files": "syscall-exit", "reads": "cast"}
    settings = [chosen, *modes.forced(chosen)]
    met = {(key, value) for each in settings for key, value in each.items()}
    assert met == {
        (key, value)
        for key, values in (
            ("sockets", config.SOCKET_MODES),
            ("files", config.FILE_MODES),
            ("reads", config.READ_MODES),
        )
        for value in values
        if value not in ("auto", "off")
    }
    reached = [{**chosen, **each} for each in settings]
    assert all(reached.count(each) == 1 for each in reached)


def test_reads_that_were_refused_are_not_forced() -> None:
    forced = modes.forced({"sockets": "fexit", "files": "fexit", "reads": "typed"})
    assert [each["reads"] for each in forced if "reads" in each] == ["probe"]


def test_what_is_forced_is_a_configuration_that_the_daemon_takes() -> None:
    for each in modes.forced({"sockets": "fexit", "files": "fexit", "reads": "probe"}):
        taken = config.parse(modes.configuration(each), "forced.toml", lambda _name: None)
        assert all(getattr(taken, key) == value for key, value in each.items())


def test_a_choice_is_named_by_what_it_forces() -> None:
    assert modes.name({}) == "auto"
    assert modes.name({"sockets": "fexit", "files": "fexit"}) == "sockets=fexit files=fexit"


def test_modules_are_loaded_after_what_they_need() -> None:
    listing = """\
kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/fscache.ko.xz kernel/fs/netfs.ko.xz
kernel/net/9p/9pnet.ko.xz:
kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/drivers/virtio-ring.ko.xz
kernel/fs/overlay.ko.xz:
"""
    names = ("virtio_pci", "9pnet_virtio", "9p", "overlay")  # the first is built in
    assert [path.name.removesuffix(".ko.xz") for path in initramfs.load_order(listing, names)] == [
        "virtio-ring", "9pnet", "9pnet_virtio", "netfs", "fscache", "9p", "overlay"
    ]  # fmt: skip


def test_a_module_is_found_by_either_spelling() -> None:
    listing = "kernel/drivers/virtio-pci.ko:\n"
    assert list(initramfs.load_order(listing, ["virtio_pci"])) == [
        Path("kernel/drivers/virtio-pci.ko")
    ]


def test_a_guest_cannot_write_to_this_machines_root() -> None:
    kernel = Kernel(BUILD, Path("/k/vmlinuz"), Path("/k/modules"))
    guest = qemu.Guest(AMD64, kernel, Path("/"), Path("/checkout"), Path("/a,b/job"))
    command = qemu.command(guest, "/cache/scratch")
    shares = {
        match[2]: (match[1], "readonly=on" in share.split(","))
        for share in command
        if (match := re.match(r"local,path=(.*),mount_tag=(\w+),", share))
    }
    assert shares == {
        "root": ("/", True),
        "modules": ("/k/modules", True),
        "job": ("/a,,b/job", False),  # as QEMU wants a comma to be written
    }


@pytest.mark.parametrize(
    ("machine", "program", "console"),
    [
        (AMD64, "qemu-system-x86_64", "ttyS0"),
        (ARM64, "qemu-system-aarch64", "ttyAMA0"),
        (ARM64_16K, "qemu-system-aarch64", "ttyAMA0"),
    ],
)
def test_each_machine_has_its_emulator_and_its_console(
    machine: Machine, program: str, console: str
) -> None:
    kernel = Kernel(BUILD, Path("/k/vmlinuz"), Path("/k/modules"))
    guest = qemu.Guest(machine, kernel, Path("/"), Path("/checkout"), Path("/job"))
    command = qemu.command(guest, "/cache/scratch")
    assert command[0] == program
    assert command[command.index("-append") + 1].startswith(f"console={console} ")


def test_the_archive_of_the_first_root_is_as_the_kernel_reads_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir(mode=0o755)
    (tmp_path / "bin/tool").write_bytes(b"12345")
    (tmp_path / "bin/tool").chmod(0o755)
    (tmp_path / "bin/sh").symlink_to("tool")
    archive, found, at = initramfs.archive(tmp_path), {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, named = numbers[1], numbers[6], numbers[11]
        name = archive[at + 110 : at + 110 + named]
        start = (at + 110 + named + 3) // 4 * 4
        at = (start + size + 3) // 4 * 4
        assert name.endswith(b"\0")
        assert numbers[2:4] == [0, 0]  # root's
        if name == b"TRAILER!!!\0":
            break
        found[name.rstrip(b"\0").decode()] = (oct(mode), archive[start : start + size])
    assert at == len(archive)
    assert found == {
        "bin": ("0o40755", b""),
        "bin/sh": ("0o120777", b"tool"),
        "bin/tool": ("0o100755", b"12345"),
    }


def test_the_sources_are_signed_and_on_the_mirror_that_the_system_uses() -> None:
    system = ["Types: deb\nURIs: https://mirror.example/pub/debian/\nSuites: bookworm\n"]
    lines = list(apt.sources(system))
    assert all("signed-by=" in line for line in lines)
    assert "https://mirror.example/pub/debian sid main" in lines[-1]
    security = [line for line in lines if "security" in line]
    assert all("http://deb.debian.org/debian-security " in line for line in security)


def test_another_distributions_archive_is_no_mirror() -> None:
    system = ["deb http://archive.ubuntu.com/ubuntu noble main\n"]
    assert apt.mirrors(system)["debian"] == "http://deb.debian.org/debian"


def test_the_cache_is_outside_the_checkout_and_can_be_moved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (cache.VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache.directory() == Path("/var/cache/pbmon-kernels")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "pbmon-kernels"
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "mine"))
    assert cache.directory() == tmp_path / "mine"


def fill_badly(place: Path) -> None:
    (place / "half").touch()
    (place / "half/of it").touch()


def test_what_is_not_complete_takes_no_place(tmp_path: Path) -> None:
    place = tmp_path / "builds/one"
    with pytest.raises(NotADirectoryError), cache.staged(place) as staging:
        fill_badly(staging)
    assert list(place.parent.iterdir()) == []
    with cache.staged(place) as staging:
        (staging / "whole").touch()
    assert [path.name for path in place.iterdir()] == ["whole"]


def test_the_short_run_names_paths_that_exist() -> None:
    assert set(SHORT) <= set(NAMES)


def test_a_series_that_is_none_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["6.x"])
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith("packaging/check --kernels: error: 6.x")
    )


def test_check_describes_the_matrix_options_and_series(capsys: pytest.CaptureFixture[str]) -> None:
    check = Path(__file__).parents[3] / "packaging/check"
    said = subprocess.run([check, "--help"], check=True, capture_output=True, text=True).stdout
    with pytest.raises(SystemExit):
        main(["--help"])
    options = set(re.findall(r"^  (--\w+)", capsys.readouterr().out, re.MULTILINE))
    assert set(re.findall(r"^  (--\w+)", said, re.MULTILINE)) == options - {"--results"}
    assert all(re.search(rf"\b{re.escape(series)}\b", said) for series in DEFAULT)


def emulated(tmp_path: Path, script: str, timeout_s: float = 60) -> tuple[str | None, list[str]]:
    """What is returned and told of a guest whose console says what a shell script prints."""
    told: list[str] = []
    console = tmp_path / "console"
    failed = qemu.emulate(["sh", "-c", script], console, timeout_s, told.append)
    return failed, told


def test_a_guest_that_ends_well_tells_its_lines_and_leaves_its_console(tmp_path: Path) -> None:
    script = "echo BIOS; echo 'pbmon-guest: booted'; echo 'pbmon-guest: ended with 0'; echo bye"
    assert emulated(tmp_path, script) == (None, ["booted"])
    assert (tmp_path / "console").read_text().splitlines()[::3] == ["BIOS", "bye"]


def test_of_a_guest_that_dies_the_last_line_is_told(tmp_path: Path) -> None:
    script = "echo 'pbmon-guest: booted'; printf 'Kernel panic\\r\\n\\n' >&2"
    assert emulated(tmp_path, script) == ("the guest's last line: Kernel panic", ["booted"])


def test_a_guest_that_does_not_end_is_ended(tmp_path: Path) -> None:
    failed, told = emulated(tmp_path, "echo 'pbmon-guest: booted'; exec sleep 300", 0.6)
    assert (failed, told) == ("the guest had not ended after 1 s", ["booted"])


def test_where_guests_cannot_be_made_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _tool: None)
    assert main(["6.1"]) == 3
    said = capsys.readouterr().err
    assert said == "kernels: not installed: depmod dpkg-deb mkfs.ext4 qemu-system-x86_64\n"
