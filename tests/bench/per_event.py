"""What pbmon's probes are compared with: a monitor of one event a call.

Run by probe_cost.py under the system's Python, which has bcc:

    PYTHON per_event.py HEADERS TRACEPOINT...

A line "on" on standard input attaches to the tracepoints, "off" detaches; each is answered, as is
the start, by a line with the number of events consumed.
"""

from __future__ import annotations

import mmap
import os
import platform
import select
import struct
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from pbmond.loader import bpf, kernelfs

_RING_SIZE = 1 << 24
_PAGE = mmap.PAGESIZE
_POSITION = struct.Struct("<Q")

# One event a call, as trace tools for read and write do it: what the call was given is stashed on
# the way in; descriptor, size and result go out through the ring buffer on the way out.
_SOURCE = """
#include <linux/types.h>

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(void *map, const void *key) = (void *)3;
static u64 (*now_ns)(void) = (void *)5;
static u64 (*pid_tgid)(void) = (void *)14;
static long (*command)(void *to, u32 size) = (void *)16;
static void *(*ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*ringbuf_submit)(void *data, u64 flags) = (void *)132;
u64 map_descriptor(u64 kind, u64 descriptor) asm("llvm.bpf.pseudo");
#define MAP(name) ((void *)map_descriptor(1, name##_FD))

struct entry { u64 common; s64 number; u64 arguments[6]; };
struct exit { u64 common; s64 number; s64 result; };
struct stash { u64 began_ns; u64 descriptor; u64 number; };
struct event { u64 thread; u64 began_ns; u64 ended_ns; u64 descriptor; s64 result; char name[16]; };

int enter(struct entry *ctx)
{
	u64 thread = pid_tgid();
	struct stash stash = {
		.began_ns = now_ns(), .descriptor = ctx->arguments[0], .number = ctx->number,
	};

	map_update(MAP(STASH), &thread, &stash, 0);
	return 0;
}

int leave(struct exit *ctx)
{
	u64 thread = pid_tgid();
	struct stash *stash = map_lookup(MAP(STASH), &thread);
	struct event *event;

	if (!stash)
		return 0;
	event = ringbuf_reserve(MAP(EVENTS), sizeof(*event), 0);
	if (event) {
		event->thread = thread;
		event->began_ns = stash->began_ns;
		event->ended_ns = now_ns();
		event->descriptor = stash->descriptor;
		event->result = ctx->result;
		command(event->name, sizeof(event->name));
		ringbuf_submit(event, 0);
	}
	map_delete(MAP(STASH), &thread);
	return 0;
}
"""
_RECORD_SIZE = 64  # struct event, and the ring buffer's header before it


class Ring:
    """Counts events at the least cost there is: it moves the consumer's position to the end."""

    def __init__(self, descriptor: int) -> None:
        self._consumer = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED)
        self._producer = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)

    def consume(self) -> int:
        """Take all events and return how many there were."""
        begin = _POSITION.unpack_from(self._consumer)[0]
        end = _POSITION.unpack_from(self._producer)[0]
        _POSITION.pack_into(self._consumer, 0, end)
        return int(end - begin) // _RECORD_SIZE


def _version_code() -> int:
    major, minor = platform.release().split(".")[:2]
    return int(major) << 16 | int(minor) << 8


def _attach(tracepoints: list[str], programs: dict[str, int], tracefs: int) -> list[int]:
    links = []
    for name in tracepoints:
        program = programs["enter" if "sys_enter" in name else "leave"]
        identifier = int(kernelfs.read(tracefs, f"events/{name}/id"))
        links.append(bpf.open_tracepoint(identifier, program))
    return links


def main() -> None:
    """Compile, then attach and detach as standard input says, until its end."""
    headers, *tracepoints = sys.argv[1:]
    os.environ["BCC_KERNEL_SOURCE"] = headers
    import bcc  # noqa: PLC0415 - it reads the variable when it is imported

    stash = bpf.create_map(bpf.HASH, 8, 24, 10240)
    events = bpf.create_map(bpf.RINGBUF, 0, 0, _RING_SIZE)
    defines = {"STASH_FD": stash, "EVENTS_FD": events, "LINUX_VERSION_CODE": _version_code()}
    module = bcc.BPF(text=_SOURCE, cflags=[f"-D{k}={v}" for k, v in defines.items()])
    programs = {
        name: int(module.load_func(name, bcc.BPF.TRACEPOINT).fd) for name in ("enter", "leave")
    }
    _serve(tracepoints, programs, events)


def _serve(tracepoints: list[str], programs: dict[str, int], events: int) -> None:
    ring = Ring(events)
    tracefs = kernelfs.tracefs()
    poll = select.epoll()
    poll.register(events, select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    links: list[int] = []
    consumed = 0
    print(0, flush=True)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == events:
                consumed += ring.consume()
                continue
            word = os.read(0, 16)
            if not word:
                return
            for link in links:
                os.close(link)
            consumed += ring.consume()
            links = _attach(tracepoints, programs, tracefs) if word == b"on\n" else []
            print(consumed, flush=True)
            consumed = 0


if __name__ == "__main__":
    main()
