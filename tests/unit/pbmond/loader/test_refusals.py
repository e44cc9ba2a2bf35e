"""From what the kernel answered to one line that says what is wrong and what to do."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from pbmond.loader import refusals, trials
from pbmond.loader.refusals import CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, Facts

EVERY = (1 << 41) - 1
ROOT = Facts(
    capabilities=EVERY,
    user_namespace=False,
    seccomp=False,
    paranoid=2,
    memlock=None,
    descriptors=1024,
    release="6.1.0",
)
LIMITED = ROOT._replace(memlock=65536)
FILTERED = ROOT._replace(seccomp=True)


def without(*capabilities: int, of: Facts = ROOT) -> Facts:
    return of._replace(capabilities=EVERY & ~sum(1 << number for number in capabilities))


# --- before anything is tried -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (without(8), "CAP_SETPCAP is missing: grant it ("),
        (without(5, 7), "CAP_KILL and CAP_SETUID are missing: grant them ("),
        (without(2, 6, 19), "CAP_DAC_READ_SEARCH, CAP_SETGID and CAP_SYS_PTRACE are missing: "),
        (without(CAP_SYS_ADMIN, CAP_BPF), "CAP_BPF is missing: grant it ("),
        (without(CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON), "CAP_BPF and CAP_PERFMON are missing: "),
        (without(8)._replace(user_namespace=True), "root of a user namespace (a rootless"),
        (ROOT._replace(pid_namespace=True), "this is not the host's PID namespace, "),
        (ROOT._replace(time_namespace=True), "this is not the host's time namespace, "),
        (ROOT._replace(descriptors=255), "only 255 open files are allowed: allow 256 ("),
        (
            ROOT._replace(descriptors=300, opened=106),
            "only 300 open files are allowed, and 106 are open already: allow 346 (",
        ),
    ],
)
def test_what_a_process_certainly_lacks_is_named(facts: Facts, said: str) -> None:
    assert (refusals.lacking(facts) or "").startswith(said)


@pytest.mark.parametrize(
    "facts",
    [
        ROOT,
        without(CAP_BPF, CAP_PERFMON),  # SYS_ADMIN stands for both
        without(CAP_SYS_ADMIN, CAP_SYS_RESOURCE),
        ROOT._replace(descriptors=None),
        ROOT._replace(memlock=0),  # Linux 5.11 and newer do not ask
        ROOT._replace(seccomp=True, paranoid=4),
    ],
)
def test_what_may_be_enough_is_left_to_the_trials(facts: Facts) -> None:
    assert refusals.lacking(facts) is None


# --- what is tried ----------------------------------------------------------------------------

MODULE = "a security module (SELinux, AppArmor) may be the cause, see its log"


@pytest.mark.parametrize(
    ("number", "facts", "said"),
    [
        (errno.EPERM, FILTERED._replace(reached=False), "a seccomp filter forbids bpf(2): "),
        (errno.ENOSYS, FILTERED._replace(reached=False), "a seccomp filter forbids bpf(2): "),
        (errno.ENOSYS, ROOT._replace(reached=False), "it needs CONFIG_BPF_SYSCALL=y"),
        # A filter is on, but not against bpf(2).
        (errno.EPERM, FILTERED._replace(capable=False), MODULE),
        (errno.EACCES, ROOT, MODULE),
        (errno.EPERM, LIMITED, "of which 65536 bytes are allowed: set LimitMEMLOCK=infinity"),
        (
            errno.EPERM,
            without(CAP_SYS_RESOURCE, of=LIMITED),
            "65536 bytes are allowed, and CAP_SYS_RESOURCE to raise it is missing: set LimitMEM",
        ),
        # CAP_BPF is there and does not count: that is not the limit's doing.
        (errno.EPERM, LIMITED._replace(capable=False), MODULE),
        (errno.EPERM, ROOT, MODULE),
    ],
)
def test_the_smallest_map_that_is_refused_has_a_reason(
    number: int, facts: Facts, said: str
) -> None:
    assert said in refusals.small_map(number, facts)


EXHAUSTED = [
    (errno.EMFILE, "only 1024 open files are allowed, and 1020 are open already: allow 1260 ("),
    (errno.ENFILE, "the host has no open files left: raise the sysctl fs.file-max"),
]


@pytest.mark.parametrize(("number", "said"), EXHAUSTED)
def test_too_few_descriptors_are_never_taken_for_something_else(number: int, said: str) -> None:
    facts = without(CAP_SYS_ADMIN, of=FILTERED)._replace(opened=1020)
    lines = [
        refusals.small_map(number, facts),
        refusals.small_program(number, facts),
        refusals.locked_down(number, facts),
        refusals.table("flow_slots", 4096, number, facts),
        refusals.tracefs(number, facts),
        refusals.perf(number, facts),
        refusals.program("read", number, "", facts),
    ]
    assert [line for line in lines if not line.startswith(said)] == []


def test_a_missing_capability_is_named_before_a_security_module_is_suspected() -> None:
    facts = without(CAP_SYS_ADMIN)
    for line in (refusals.small_map(errno.EPERM, facts), refusals.perf(errno.EPERM, facts)):
        assert "CAP_SYS_ADMIN is missing, which some kernels want: grant it (" in line


def test_memory_that_may_not_be_read_is_lockdown() -> None:
    assert refusals.locked_down(errno.EINVAL, ROOT).startswith("lockdown=confidentiality forbids")


def test_a_small_program_that_is_refused_never_blames_the_limit_that_a_map_passed() -> None:
    assert MODULE in refusals.small_program(errno.EPERM, LIMITED)
    assert "CONFIG_BPF_EVENTS=y" in refusals.small_program(errno.EINVAL, LIMITED)


@pytest.mark.parametrize(
    ("number", "facts", "said"),
    [
        (errno.EPERM, LIMITED, "set LimitMEMLOCK=infinity"),
        (errno.ENOMEM, ROOT, "no memory for the table flow_slots (17 MiB): raise MemoryMax="),
        (errno.E2BIG, ROOT, "no memory for the table flow_slots (17 MiB)"),
        (errno.EINVAL, ROOT, "(6.1.0) cannot make the table flow_slots: Linux 5.10 can"),
        (errno.EPERM, ROOT, "refuses the table flow_slots: Operation not permitted"),
    ],
)
def test_a_table_that_is_refused_has_a_reason(number: int, facts: Facts, said: str) -> None:
    assert said in refusals.table("flow_slots", 136 << 17, number, facts)


@pytest.mark.parametrize(
    ("number", "facts", "said"),
    [
        (
            errno.EPERM,
            without(CAP_SYS_ADMIN),
            "CAP_SYS_ADMIN to mount it is missing: mount -t tracefs",
        ),
        (errno.EPERM, without(CAP_SYS_ADMIN, of=FILTERED), "CAP_SYS_ADMIN to mount it is missing"),
        (errno.EPERM, FILTERED, "a seccomp filter forbids fsopen(2), fsconfig(2) and fsmount(2)"),
        (errno.ENODEV, without(CAP_SYS_ADMIN), "it needs CONFIG_FTRACE=y"),
        (errno.EACCES, ROOT, MODULE),
    ],
)
def test_unavailable_tracefs_has_a_reason(number: int, facts: Facts, said: str) -> None:
    assert said in refusals.tracefs(number, facts)


@pytest.mark.parametrize(
    ("number", "facts", "said"),
    [
        (
            errno.EACCES,
            without(CAP_SYS_ADMIN)._replace(paranoid=3),
            "kernel.perf_event_paranoid=3 forbids perf_event_open(2) without CAP_SYS_ADMIN: grant",
        ),
        (
            errno.EACCES,
            without(CAP_SYS_ADMIN, CAP_PERFMON),
            "kernel.perf_event_paranoid=2 forbids perf_event_open(2) without CAP_PERFMON and "
            "CAP_SYS_ADMIN: grant them",
        ),
        (errno.EACCES, ROOT, MODULE),
        (errno.EPERM, FILTERED, "a seccomp filter forbids perf_event_open(2): "),
        (errno.ENOSYS, FILTERED, "a seccomp filter forbids perf_event_open(2): "),
        (errno.ENOSYS, ROOT, "it needs CONFIG_PERF_EVENTS=y"),
        (errno.ENOENT, ROOT, "it needs CONFIG_PERF_EVENTS=y"),
    ],
)
def test_perf_events_that_are_refused_have_a_reason(number: int, facts: Facts, said: str) -> None:
    assert said in refusals.perf(number, facts)


@pytest.mark.parametrize(
    ("facts", "enough"),
    [
        (without(CAP_SYS_ADMIN)._replace(paranoid=4), 2),
        (without(CAP_SYS_ADMIN), -1),
        (without(CAP_SYS_ADMIN, CAP_PERFMON)._replace(paranoid=4), -1),
    ],
)
def test_no_lower_setting_than_is_enough_is_proposed(facts: Facts, enough: int) -> None:
    assert refusals.perf(errno.EACCES, facts).endswith(f"or set the sysctl to {enough}")


def test_a_missing_tracepoint_is_the_kernels_configuration() -> None:
    name = "syscalls/sys_exit_read"
    assert "CONFIG_FTRACE_SYSCALLS=y" in refusals.tracepoint(name, errno.ENOENT)
    assert "Permission denied" in refusals.tracepoint(name, errno.EACCES)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOENT, "no BTF at /btf: the kernel needs CONFIG_DEBUG_INFO_BTF=y, and sysfs"),
        (None, "/btf is not BTF: something else is mounted over it"),
        (errno.EACCES, "/btf cannot be read: Permission denied"),
    ],
)
def test_types_that_cannot_be_read_have_a_reason(number: int | None, said: str) -> None:
    assert refusals.no_btf("/btf", number).startswith(said)


@pytest.mark.parametrize(
    ("number", "log", "said"),
    [
        (
            errno.E2BIG,
            "BPF program is too large. Processed 1000001 insn",
            "the verifier of Linux 6.1.0 finds a program too long (exit_sendmmsg: Argument list "
            "too long, BPF program is too large. Processed 1000001 insn): please report it",
        ),
        (
            errno.EACCES,
            "R1 invalid mem access 'scalar'",
            "refuses a program (exit_sendmmsg: Permission denied, R1 invalid mem access 'scalar')",
        ),
        (errno.EINVAL, "", "refuses a program (exit_sendmmsg: Invalid argument): please report"),
        (errno.EPERM, "", "does not load a program (exit_sendmmsg: Operation not permitted)"),
        (errno.ENOMEM, "", "does not load a program (exit_sendmmsg: Cannot allocate memory)"),
    ],
)
def test_a_program_that_is_refused_is_named_with_the_verifiers_last_words(
    number: int, log: str, said: str
) -> None:
    line = refusals.program("exit_sendmmsg", number, log, ROOT)
    assert said in line
    assert "lockdown" not in line


def test_settings_are_proposed_for_a_program_that_they_leave_out() -> None:
    off = 'sockets = "off" or files = "off"'
    assert off in refusals.program("exit_sendmmsg", errno.E2BIG, "", ROOT)
    assert off not in refusals.program("sched_process_exit", errno.E2BIG, "", ROOT)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (-signal.SIGSYS, "killed by a seccomp filter"),
        (-signal.SIGKILL, "memory"),
        (-signal.SIGSEGV, "ended by signal 11"),
        (3, "ended with status 3"),
    ],
)
def test_how_the_loader_ended_is_reported(status: int, said: str) -> None:
    assert said in refusals.ended(status)


# --- the facts --------------------------------------------------------------------------------


def test_the_facts_are_those_of_this_process() -> None:
    facts = trials.facts()
    status = Path("/proc/self/status").read_text()
    assert f"CapEff:\t{facts.capabilities:016x}\n" in status
    assert facts.seccomp == ("Seccomp:\t2" in status)
    assert facts.release == os.uname().release
    assert facts.lacks(CAP_SYS_ADMIN) == ["CAP_SYS_ADMIN"] * (not facts.capabilities >> 21 & 1)
