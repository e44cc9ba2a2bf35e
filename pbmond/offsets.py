"""Which members of kernel structures the eBPF programs need, as -D flags for the compiler.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import platform

from pbmond.btf import Btf, BtfError
from pbmond.hooks import SHOT_TRACEPOINTS

# OFFSETOF_<name>: (structure, member); a list names alternatives, newest kernel first.
_NEEDED: dict[str, list[tuple[str, str]]] = {
    "TASK_TGID": [("task_struct", "tgid")],
    "TASK_GROUP_LEADER": [("task_struct", "group_leader")],
    "TASK_START_BOOTTIME": [("task_struct", "start_boottime"), ("task_struct", "real_start_time")],
    "TASK_FILES": [("task_struct", "files")],
    "TASK_FS": [("task_struct", "fs")],
    "TASK_MM": [("task_struct", "mm")],
    "TASK_SIGNAL": [("task_struct", "signal")],
    "TASK_NSPROXY": [("task_struct", "nsproxy")],
    "TASK_REAL_PARENT": [("task_struct", "real_parent")],
    "TASK_CRED": [("task_struct", "cred")],
    "TASK_COMM": [("task_struct", "comm")],
    "TASK_CGROUPS": [("task_struct", "cgroups")],
    "TASK_STACK": [("task_struct", "stack")],
    "SIGNAL_LIVE": [("signal_struct", "live")],
    "SIGNAL_NR_THREADS": [("signal_struct", "nr_threads")],
    "CRED_EUID": [("cred", "euid")],
    "NSPROXY_NET": [("nsproxy", "net_ns")],
    "NET_NS_INUM": [("net", "ns.inum")],
    "FS_ROOT": [("fs_struct", "root")],
    "PATH_MNT": [("path", "mnt")],
    "PATH_DENTRY": [("path", "dentry")],
    "MM_EXE_FILE": [("mm_struct", "exe_file")],
    "MM_ARG_START": [("mm_struct", "arg_start")],
    "MM_ARG_END": [("mm_struct", "arg_end")],
    "FILES_FDT": [("files_struct", "fdt")],
    "FDTABLE_MAX_FDS": [("fdtable", "max_fds")],
    "FDTABLE_FD": [("fdtable", "fd")],
    "FILE_INODE": [("file", "f_inode")],
    "FILE_MODE": [("file", "f_mode")],
    "FILE_PATH": [("file", "f_path")],
    "INODE_MODE": [("inode", "i_mode")],
    "INODE_SB": [("inode", "i_sb")],
    "INODE_INO": [("inode", "i_ino")],
    "INODE_NLINK": [("inode", "i_nlink")],
    "INODE_RDEV": [("inode", "i_rdev")],
    "INODE_GENERATION": [("inode", "i_generation")],
    "SUPERBLOCK_DEV": [("super_block", "s_dev")],
    "SUPERBLOCK_MAGIC": [("super_block", "s_magic")],
    "DENTRY_PARENT": [("dentry", "d_parent")],
    "DENTRY_NAME": [("dentry", "d_name.name")],
    "VFSMOUNT_ROOT": [("vfsmount", "mnt_root")],
    "MOUNT_MNT": [("mount", "mnt")],
    "MOUNT_PARENT": [("mount", "mnt_parent")],
    "MOUNT_MOUNTPOINT": [("mount", "mnt_mountpoint")],
    "CSS_SET_DFL_CGRP": [("css_set", "dfl_cgrp")],
    "CGROUP_KN": [("cgroup", "kn")],
    # renamed when it came under RCU
    "KERNFS_NODE_PARENT": [("kernfs_node", "__parent"), ("kernfs_node", "parent")],
    "KERNFS_NODE_NAME": [("kernfs_node", "name")],
    "SKC_FAMILY": [("sock_common", "skc_family")],
    "SKC_STATE": [("sock_common", "skc_state")],
    "SKC_RCV_SADDR": [("sock_common", "skc_rcv_saddr")],
    "SKC_DADDR": [("sock_common", "skc_daddr")],
    "SKC_NUM": [("sock_common", "skc_num")],
    "SKC_DPORT": [("sock_common", "skc_dport")],
    "SKC_NET": [("sock_common", "skc_net")],
    "SKC_V6_RCV_SADDR": [("sock_common", "skc_v6_rcv_saddr")],
    "SKC_V6_DADDR": [("sock_common", "skc_v6_daddr")],
    "SK_PROTOCOL": [("sock", "sk_protocol")],
    "SK_SOCKET": [("sock", "sk_socket")],
    "SK_DST_CACHE": [("sock", "sk_dst_cache")],
    "SK_USERLOCKS": [("sock", "sk_userlocks")],
    "ICSK_BIND_HASH": [("inet_connection_sock", "icsk_bind_hash")],
    "BIND_BUCKET_FASTREUSE": [("inet_bind_bucket", "fastreuse")],
    "DST_DEV": [("dst_entry", "dev")],
    "NET_DEVICE_FLAGS": [("net_device", "flags")],
    "SOCKET_SK": [("socket", "sk")],
    "SOCKET_OPS": [("socket", "ops")],
    "SOCKET_ALLOC_INODE": [("socket_alloc", "vfs_inode")],
    "PROTO_OPS_SPLICE_READ": [("proto_ops", "splice_read")],
    "UNIX_ADDR": [("unix_sock", "addr")],
    "UNIX_PEER": [("unix_sock", "peer")],
    "UNIX_ADDRESS_LEN": [("unix_address", "len")],
    "UNIX_ADDRESS_NAME": [("unix_address", "name")],
    "REQUEST_OPCODE": [("io_kiocb", "opcode")],
    "REQUEST_FILE": [("io_kiocb", "file")],
}
# Defined only where the kernel has them; the programs do without.
_OPTIONAL: dict[str, tuple[str, str]] = {
    "TASK_IOAC": ("task_struct", "ioac"),  # CONFIG_TASK_IO_ACCOUNTING
    "SIGNAL_IOAC": ("signal_struct", "ioac"),
    "IOAC_READ_BYTES": ("task_io_accounting", "read_bytes"),
    "IOAC_WRITE_BYTES": ("task_io_accounting", "write_bytes"),
    "SK_INO": ("sock", "sk_ino"),  # newer kernels keep the number in the sock itself
    "REQUEST_TCTX": ("io_kiocb", "tctx"),  # newer kernels; a task before
    "TCTX_TASK": ("io_uring_task", "task"),
    "REQUEST_TASK": ("io_kiocb", "task"),
    "SPLICE_FD_IN": ("io_splice", "splice_fd_in"),
    "SPLICE_FLAGS": ("io_splice", "flags"),
    "SPLICE_NODE": ("io_splice", "rsrc_node"),
    "RSRC_NODE_FILE": ("io_rsrc_node", "file_ptr"),
    "REQUEST_RING": ("io_kiocb", "ctx"),
    "REQUEST_USER_DATA": ("io_kiocb", "cqe.user_data"),
    "REQUEST_ASYNC_DATA": ("io_kiocb", "async_data"),
    "ASYNC_MESSAGE_NAME_LENGTH": ("io_async_msghdr", "namelen"),
    "ASYNC_MESSAGE_CONTROL_LENGTH": ("io_async_msghdr", "controllen"),
}
_REGISTERS = {
    "x86_64": {
        "DI": "di",
        "SI": "si",
        "DX": "dx",
        "R10": "r10",
        "R8": "r8",
        "R9": "r9",
        "ORIG_AX": "orig_ax",
    },
    "aarch64": {"REGS": "regs", "ORIG_X0": "orig_x0", "SYSCALLNO": "syscallno"},
}
_THREAD_SIZE = 16384  # x86_64 and arm64 with 4 KiB pages, without KASAN
_INODE_READ_MAX = 256  # beyond it, a second read is cheaper than a longer one


def defines(btf: Btf) -> dict[str, int]:
    """Return every define that depends on the kernel's types; BtfError names what is missing."""
    found = {f"OFFSETOF_{name}": _first(btf, name, places) for name, places in _NEEDED.items()}
    for name, (structure, member) in _OPTIONAL.items():
        offset = btf.offset(structure, member)
        if offset is not None:
            found[f"OFFSETOF_{name}"] = offset
    for name, member in _REGISTERS[platform.machine()].items():
        found[f"OFFSETOF_{name}"] = _first(btf, name, [("pt_regs", member)])
    found["SIZEOF_PT_REGS"] = btf.size("pt_regs") or 0
    found["THREAD_SIZE"] = _THREAD_SIZE
    found["ARCH_ARM64"] = int(platform.machine() == "aarch64")
    found["SOCK_COMMON_SPAN"] = _span(found, "SKC_", 16)
    found["INODE_SPAN"] = _inode_span(found)
    found["FUNCTION_RDONLY_CAST"] = btf.function("bpf_rdonly_cast") or 0
    found["TYPE_SOCKADDR_STORAGE"] = btf.structure("__kernel_sockaddr_storage") or 0
    found["HAS_SENDPAGE"] = int(btf.offset("proto_ops", "sendpage") is not None)
    parameters = btf.tracepoint_parameters("io_uring_complete") or []
    found["URING_COMPLETE_HAS_CQE"] = int("io_uring_cqe" in parameters)
    found["URING_COMPLETE_HAS_REQUEST"] = int(has_request(parameters))
    found["HAS_SHOTS"] = int(_has_shots(btf))
    return found


def unseen(btf: Btf, *, sockets: bool) -> list[str]:
    """Return what this kernel does past every hook, or does not tell about; for people."""
    found = []
    if sockets and btf.structure("io_zcrx_ifq") is not None:
        found.append("io_uring receives without a copy (IORING_OP_RECV_ZC)")
    if btf.offset("bpf_prog_info", "recursion_misses") is None:
        found.append("calls during bpf(2) of others on their processor (Linux 5.12 counts them)")
    return found


def has_request(parameters: list[str]) -> bool:
    """Tell whether io_uring_complete names the request; ``parameters`` as Btf gives them.

    (ring, request, user data, result, flags, ...) since Linux 5.18, later (ring, request, cqe);
    before, (ring, user data, result) or one more.
    """
    return "io_uring_cqe" in parameters or len(parameters) > 4


def _has_shots(btf: Btf) -> bool:
    """Tell whether requests can post many results here, and the hooks on them name the request."""
    heads = [btf.tracepoint_parameters(name) or [""] for name in SHOT_TRACEPOINTS]
    named = all(parameters[0] in ("", "io_kiocb") for parameters in heads)
    return named and btf.offset("io_kiocb", "cqe.user_data") is not None


def _first(btf: Btf, name: str, places: list[tuple[str, str]]) -> int:
    for structure, member in places:
        offset = btf.offset(structure, member)
        if offset is not None:
            return offset
    structure, member = places[0]
    raise BtfError(f"this kernel has no {structure}.{member} ({name}): pbmon does not know it")


def _span(found: dict[str, int], prefix: str, last_size: int) -> int:
    """Bytes from a structure's beginning to the end of the last member read, rounded up to 8."""
    offsets = [value for name, value in found.items() if name.startswith(f"OFFSETOF_{prefix}")]
    return (max(offsets) + last_size + 7) // 8 * 8


def _inode_span(found: dict[str, int]) -> int:
    near = {
        name: value
        for name, value in found.items()
        if name.startswith("OFFSETOF_INODE_") and value < _INODE_READ_MAX
    }
    return _span(near, "INODE_", 8)
