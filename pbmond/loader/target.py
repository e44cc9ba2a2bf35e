"""What is known of this process and the running kernel before anything is compiled.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

from typing import NamedTuple

from pbmond.loader import fexit, preemption, trials
from pbmond.loader.btf import Btf
from pbmond.loader.handover import LoadRequest
from pbmond.loader.hooks import Hook, Modes, hooks, modes
from pbmond.loader.offsets import defines, unseen
from pbmond.loader.refusals import Facts, Refused
from pbmond.loader.registers import stack_registers
from pbmond.loader.uring import Uring, uring


class Target(NamedTuple):
    """The running kernel: its types, what follows from them, and whether it preempts programs.

    ``constants`` are defines for the compiler. ``preempts`` says why it may preempt itself, or is
    None. ``by_perf``: raw tracepoint programs can be preempted, so perf is used. ``dispatches``:
    so can programs at the tracepoints of system calls, so the one that all calls pass is used.
    """

    facts: Facts
    btf: Btf
    constants: dict[str, int]
    uring: Uring
    preempts: str | None
    by_perf: bool
    dispatches: bool

    def possible(self, request: LoadRequest) -> list[Modes]:
        """Return the modes that can be tried, the best first. Refused if there is none."""
        sockets, files = request.sockets, request.files
        every = list(modes(sockets, files))
        if not every:
            raise Refused(
                f'sockets = "{sockets}" and files = "{files}" hook system calls in two ways: '
                'set one of them to "auto" in the configuration'
            )
        lacks = {}
        if any(each.sockets == "tracepoint" for each in every):
            lacks["tracepoint"] = self._lack_of_socket_tracepoints()
        if any(each.calls == "fexit" for each in every):
            lacks["fexit"] = self._lack_of_fexit(forced="fexit" in (sockets, files))
        possible = [
            each for each in every if not (lacks.get(each.sockets) or lacks.get(each.calls))
        ]
        if not possible:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in lacks.items() if reason)
            raise Refused(f'{reasons}: set sockets and files to "auto" in the configuration')
        return possible

    def _lack_of_socket_tracepoints(self) -> str | None:
        if self.constants["HAS_SOCKET_TRACEPOINTS"]:
            return None
        return "this kernel has no sock_send_length and sock_recv_length (Linux 6.3 has)"

    def _lack_of_fexit(self, *, forced: bool) -> str | None:
        refusal = fexit.refusal(self.btf)
        return refusal if refusal or forced else self.preempts

    def preempts_programs(self, chosen: Modes) -> str | None:
        """Return why the programs of these modes may be preempted, or None if they are not."""
        return preemption.of_programs(chosen.calls, self.preempts)

    def is_dispatched(self, chosen: Modes) -> bool:
        """Return whether one program runs at the end of all system calls."""
        return self.dispatches and chosen.calls == "syscall-exit"

    def hooks(self, chosen: Modes) -> list[Hook]:
        """Return every hook of these modes."""
        return hooks(
            chosen,
            self.uring.hooks,
            by_perf=self.by_perf,
            dispatched=self.is_dispatched(chosen),
        )

    def unseen(self, chosen: Modes) -> list[str]:
        """Return what these modes cannot see on this kernel, in words for people."""
        found = unseen(self.btf, sockets=chosen.sockets != "off")
        if chosen.calls != "off":
            found += self.uring.unseen
        preempted = self.preempts_programs(chosen)
        return [*found, *([f"calls that the kernel skips ({preempted})"] if preempted else [])]


def target() -> Target:
    """Examine the kernel and raise this process's limits. Refused if nothing can be loaded."""
    trials.raise_limits()
    facts = trials.facts()
    trials.can_load(facts)
    trials.has_types(facts)
    btf = Btf()
    btf.add_modules()
    tracepoints = uring(btf)
    preempts = preemption.of_kernel()
    constants = {**defines(btf), **tracepoints.defines}
    trials.has_offsets(constants, facts)
    constants["STACK_REGISTERS"] = stack_registers(constants["OFFSETOF_TASK_STACK"])
    return Target(
        facts,
        btf,
        constants,
        tracepoints,
        preempts,
        by_perf=preempts is not None and preemption.raw_is_preemptible(btf),
        dispatches=preempts is not None and preemption.calls_are_preemptible(btf),
    )
