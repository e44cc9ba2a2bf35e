"""Which members of kernel structures the eBPF programs need, as -D flags for the compiler.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import platform
import resource

from pbmond.loader.btf import Btf, BtfError, Member
from pbmond.loader.hooks import SOCKET_TRACEPOINTS
from pbmond.loader.preemption import raw_is_preemptible

# Sizes of the reads in C, in bytes. INSIDE: C only adds to the offset.
U8, U16, U32, U64, POINTER, INSIDE = 1, 2, 4, 8, 8, 0

# OFFSETOF_<name>: the size of the read, and the member, which must have that size. "|" separates
# alternatives, newest kernel first.
_NEEDED: dict[str, tuple[int, str]] = {
    "TASK_TGID": (U32, "task_struct.tgid"),
    "TASK_GROUP_LEADER": (POINTER, "task_struct.group_leader"),
    "TASK_START_BOOTTIME": (U64, "task_struct.start_boottime | task_struct.real_start_time"),
    "TASK_FILES": (POINTER, "task_struct.files"),
    "TASK_FS": (POINTER, "task_struct.fs"),
    "TASK_MM": (POINTER, "task_struct.mm"),
    "TASK_SIGNAL": (POINTER, "task_struct.signal"),
    "TASK_NSPROXY": (POINTER, "task_struct.nsproxy"),
    "TASK_REAL_PARENT": (POINTER, "task_struct.real_parent"),
    "TASK_CRED": (POINTER, "task_struct.cred"),
    "TASK_COMM": (16, "task_struct.comm"),
    "TASK_CGROUPS": (POINTER, "task_struct.cgroups"),
    "TASK_STACK": (POINTER, "task_struct.stack"),
    "SIGNAL_LIVE": (U32, "signal_struct.live"),
    "SIGNAL_NR_THREADS": (U32, "signal_struct.nr_threads"),
    "TASK_REAL_CRED": (POINTER, "task_struct.real_cred"),
    "CRED_UID": (U32, "cred.uid"),
    "CRED_SUID": (U32, "cred.suid"),
    "CRED_EUID": (U32, "cred.euid"),
    "CRED_CAP_PERMITTED": (U64, "cred.cap_permitted"),
    "CRED_USER_NS": (POINTER, "cred.user_ns"),
    "USER_NS_PARENT": (POINTER, "user_namespace.parent"),
    "USER_NS_OWNER": (U32, "user_namespace.owner"),
    "MM_FLAGS": (U64, "mm_struct.flags"),
    "NSPROXY_NET": (POINTER, "nsproxy.net_ns"),
    "NET_NS_INUM": (U32, "net.ns.inum"),
    "FS_ROOT": (INSIDE, "fs_struct.root"),
    "PATH_MNT": (POINTER, "path.mnt"),
    "PATH_DENTRY": (POINTER, "path.dentry"),
    "MM_EXE_FILE": (POINTER, "mm_struct.exe_file"),
    "MM_ARG_START": (U64, "mm_struct.arg_start"),
    "MM_ARG_END": (U64, "mm_struct.arg_end"),
    "FILES_FDT": (POINTER, "files_struct.fdt"),
    "FDTABLE_MAX_FDS": (U32, "fdtable.max_fds"),
    "FDTABLE_FD": (POINTER, "fdtable.fd"),
    "FILE_INODE": (POINTER, "file.f_inode"),
    "FILE_MODE": (U32, "file.f_mode"),
    "FILE_PATH": (INSIDE, "file.f_path"),
    "INODE_MODE": (U16, "inode.i_mode"),
    "INODE_SB": (POINTER, "inode.i_sb"),
    "INODE_INO": (U64, "inode.i_ino"),
    "INODE_NLINK": (U32, "inode.i_nlink"),
    "INODE_RDEV": (U32, "inode.i_rdev"),
    "INODE_GENERATION": (U32, "inode.i_generation"),
    "FIRST_ALIAS": (POINTER, "inode.i_dentry.first"),
    "INODE_PRIVATE": (POINTER, "inode.i_private"),
    "SUPERBLOCK_DEV": (U32, "super_block.s_dev"),
    "SUPERBLOCK_MAGIC": (U64, "super_block.s_magic"),
    "SUPERBLOCK_BDEV": (POINTER, "super_block.s_bdev"),
    "SUPERBLOCK_BDI": (POINTER, "super_block.s_bdi"),
    "SUPERBLOCK_UUID": (16, "super_block.s_uuid"),
    "BDEV_DISK": (POINTER, "block_device.bd_disk"),
    "BDI_ID": (U64, "backing_dev_info.id"),
    "SUPERBLOCK_FS_INFO": (POINTER, "super_block.s_fs_info"),
    "DENTRY_PARENT": (POINTER, "dentry.d_parent"),
    "DENTRY_NAME": (POINTER, "dentry.d_name.name"),
    "DENTRY_HASH": (U64, "dentry.d_name.hash_len"),
    "DENTRY_INODE": (POINTER, "dentry.d_inode"),
    "DENTRY_HASHED": (POINTER, "dentry.d_hash.pprev"),
    "DENTRY_ALIAS": (INSIDE, "dentry.d_u.d_alias | dentry.d_alias"),
    "VFSMOUNT_ROOT": (POINTER, "vfsmount.mnt_root"),
    "VFSMOUNT_SB": (POINTER, "vfsmount.mnt_sb"),
    "MOUNT_MNT": (INSIDE, "mount.mnt"),
    "MOUNT_PARENT": (POINTER, "mount.mnt_parent"),
    "MOUNT_MOUNTPOINT": (POINTER, "mount.mnt_mountpoint"),
    "CSS_SET_DFL_CGRP": (POINTER, "css_set.dfl_cgrp"),
    "CGROUP_KN": (POINTER, "cgroup.kn"),
    # renamed when RCU began to protect it
    "KERNFS_NODE_PARENT": (POINTER, "kernfs_node.__parent | kernfs_node.parent"),
    "KERNFS_NODE_NAME": (POINTER, "kernfs_node.name"),
    "SKC_FAMILY": (U16, "sock_common.skc_family"),
    "SKC_STATE": (U8, "sock_common.skc_state"),
    "SKC_RCV_SADDR": (U32, "sock_common.skc_rcv_saddr"),
    "SKC_DADDR": (U32, "sock_common.skc_daddr"),
    "SKC_NUM": (U16, "sock_common.skc_num"),
    "SKC_DPORT": (U16, "sock_common.skc_dport"),
    "SKC_NET": (U64, "sock_common.skc_net"),
    "SKC_V6_RCV_SADDR": (16, "sock_common.skc_v6_rcv_saddr"),
    "SKC_V6_DADDR": (16, "sock_common.skc_v6_daddr"),
    "SK_PROTOCOL": (U16, "sock.sk_protocol"),
    "SK_TYPE": (U16, "sock.sk_type"),
    "SK_SOCKET": (POINTER, "sock.sk_socket"),
    "SK_DST_CACHE": (POINTER, "sock.sk_dst_cache"),
    "INET_SPORT": (U16, "inet_sock.inet_sport"),
    "ICSK_BIND_HASH": (POINTER, "inet_connection_sock.icsk_bind_hash"),
    "BIND_BUCKET_FASTREUSE": (U8, "inet_bind_bucket.fastreuse"),
    "TCP_SRTT_US": (U32, "tcp_sock.srtt_us"),
    "TCP_TOTAL_RETRANS": (U32, "tcp_sock.total_retrans"),
    "TCP_BYTES_RETRANS": (U64, "tcp_sock.bytes_retrans"),
    "DST_DEV": (POINTER, "dst_entry.dev"),
    "NET_DEVICE_FLAGS": (U32, "net_device.flags"),
    "SOCKET_SK": (POINTER, "socket.sk"),
    "SOCKET_OPS": (POINTER, "socket.ops"),
    "SOCKET_ALLOC_INODE": (INSIDE, "socket_alloc.vfs_inode"),
    "PROTO_OPS_SPLICE_READ": (POINTER, "proto_ops.splice_read"),
    "UNIX_ADDR": (POINTER, "unix_sock.addr"),
    "UNIX_PEER": (POINTER, "unix_sock.peer"),
    "UNIX_ADDRESS_LEN": (U32, "unix_address.len"),
    "UNIX_ADDRESS_NAME": (INSIDE, "unix_address.name"),
    "REQUEST_OPCODE": (U8, "io_kiocb.opcode"),
    "REQUEST_FILE": (POINTER, "io_kiocb.file"),
}
# Defined only if the kernel has them. The programs work without.
_OPTIONAL: dict[str, tuple[int, str]] = {
    "TASK_EXEC_STATE": (POINTER, "task_struct.exec_state"),  # since 7.2 it says what is dumpable
    "EXEC_STATE_DUMPABLE": (U32, "task_exec_state.dumpable"),
    "TASK_IOAC": (INSIDE, "task_struct.ioac"),  # CONFIG_TASK_IO_ACCOUNTING
    "IOAC_READ_BYTES": (U64, "task_io_accounting.read_bytes"),
    "IOAC_WRITE_BYTES": (U64, "task_io_accounting.write_bytes"),
    "DISK_SEQUENCE": (U64, "gendisk.diskseq"),
    "SK_INO": (U64, "sock.sk_ino"),  # newer kernels store the number in the sock itself
    "REQUEST_TCTX": (POINTER, "io_kiocb.tctx"),  # newer kernels; older ones have a task
    "TCTX_TASK": (POINTER, "io_uring_task.task"),
    "REQUEST_TASK": (POINTER, "io_kiocb.task"),
    "SPLICE_FILE_IN": (POINTER, "io_splice.file_in"),  # until 5.17; a descriptor since then
    "SPLICE_FD_IN": (U32, "io_splice.splice_fd_in"),
    "SPLICE_FLAGS": (U32, "io_splice.flags"),
    "SPLICE_NODE": (POINTER, "io_splice.rsrc_node"),
    "RSRC_NODE_FILE": (U64, "io_rsrc_node.file_ptr"),
    "RING_FILES": (POINTER, "io_ring_ctx.file_table.files"),  # registered files, until 6.12
    "FIXED_FILE": (U64, "io_fixed_file.file_ptr"),
    "REQUEST_RING": (POINTER, "io_kiocb.ctx"),
    "REQUEST_USER_DATA": (U64, "io_kiocb.cqe.user_data | io_kiocb.user_data"),
    "REQUEST_ASYNC_DATA": (POINTER, "io_kiocb.async_data"),
    "ASYNC_MESSAGE_NAME_LENGTH": (U32, "io_async_msghdr.namelen"),
    "ASYNC_MESSAGE_CONTROL_LENGTH": (U64, "io_async_msghdr.controllen"),
}
# What file systems keep beside an inode. They may be modules: all of one is defined, or nothing.
_FILE_SYSTEMS: dict[str, dict[str, tuple[int, str]]] = {
    "btrfs": {
        "BTRFS_INODE_VFS_INODE": (INSIDE, "btrfs_inode.vfs_inode"),
        "BTRFS_INODE_ROOT": (POINTER, "btrfs_inode.root"),
        "BTRFS_ROOT_ANON_DEV": (U32, "btrfs_root.anon_dev"),
    },
    "fuse": {
        "FUSE_INODE_INODE": (INSIDE, "fuse_inode.inode"),
        "FUSE_INODE_NODEID": (U64, "fuse_inode.nodeid"),
    },
    "nfs": {
        "NFS_INODE_INODE": (INSIDE, "nfs_inode.vfs_inode"),
        "NFS_INODE_HANDLE": (INSIDE, "nfs_inode.fh"),
    },
    "cifs": {
        "SMB_INODE_INODE": (INSIDE, "cifsInodeInfo.netfs.inode | cifsInodeInfo.vfs_inode"),
        "SMB_INODE_CREATED": (U64, "cifsInodeInfo.createtime"),
    },
    "ceph": {
        "CEPH_INODE_INODE": (INSIDE, "ceph_inode_info.netfs.inode | ceph_inode_info.vfs_inode"),
        "CEPH_INODE_SNAP": (U64, "ceph_inode_info.i_vino.snap"),
    },
    "overlay": {
        "OVL_FS_XINO_MODE": (U32, "ovl_fs.xino_mode"),
        "OVL_FS_NUMFS": (U32, "ovl_fs.numfs"),
        "OVL_FS_FS": (POINTER, "ovl_fs.fs"),
        "OVL_SB_SB": (POINTER, "ovl_sb.sb"),
        "OVL_SB_PSEUDO_DEV": (U32, "ovl_sb.pseudo_dev"),
    },
}
# Those that give several files one number. (overlayfs only needs its own to say what stat shows.)
_SHARED_NUMBERS = sorted(_FILE_SYSTEMS.keys() - {"overlay"})
# The records that tracepoints make for perf. Programs get these instead of the arguments there.
_TRACED: dict[str, tuple[int, str]] = {
    "TRACED_SOCK": (POINTER, "trace_event_raw_sock_msg_length.sk"),
    "TRACED_SOCK_RESULT": (U32, "trace_event_raw_sock_msg_length.ret"),
    "TRACED_SOCK_FLAGS": (U32, "trace_event_raw_sock_msg_length.flags"),
    "TRACED_SUBMIT_REQUEST": (POINTER, "trace_event_raw_io_uring_submit_req.req"),
    "TRACED_WAKE_REQUEST": (POINTER, "trace_event_raw_io_uring_task_add.req"),
    "TRACED_COMPLETE_RING": (POINTER, "trace_event_raw_io_uring_complete.ctx"),
    "TRACED_COMPLETE_REQUEST": (POINTER, "trace_event_raw_io_uring_complete.req"),
    "TRACED_COMPLETE_USER_DATA": (U64, "trace_event_raw_io_uring_complete.user_data"),
    "TRACED_COMPLETE_RESULT": (U32, "trace_event_raw_io_uring_complete.res"),
    "TRACED_COMPLETE_FLAGS": (U32, "trace_event_raw_io_uring_complete.cflags"),
    "TRACED_OVERFLOW_RESULT": (U32, "trace_event_raw_io_uring_cqe_overflow.res"),
}
# Bit fields on some kernels, read as the byte that holds them. Also SHIFT_<name> and MASK_<name>.
_BITS = {"SK_USERLOCKS": "sock.sk_userlocks"}
_REGISTERS: dict[str, dict[str, tuple[int, str]]] = {
    "x86_64": {
        "DI": (U64, "pt_regs.di"),
        "SI": (U64, "pt_regs.si"),
        "DX": (U64, "pt_regs.dx"),
        "R10": (U64, "pt_regs.r10"),
        "R8": (U64, "pt_regs.r8"),
        "R9": (U64, "pt_regs.r9"),
        "ORIG_AX": (U64, "pt_regs.orig_ax"),
        "THREAD_STATUS": (U32, "task_struct.thread_info.status"),
    },
    "aarch64": {
        "REGS": (31 * U64, "pt_regs.regs"),
        "ORIG_X0": (U64, "pt_regs.orig_x0"),
        "SYSCALLNO": (U32, "pt_regs.syscallno"),
        "PSTATE": (U64, "pt_regs.pstate"),
    },
}
_THREAD_SIZE = 16384  # without KASAN; more where a page is larger
_INODE_READ_MAX = 256  # beyond it, a second read is cheaper than a longer one


def defines(btf: Btf, machine: str = platform.machine()) -> dict[str, int]:
    """Return every define that depends on the kernel's types. BtfError names what is missing."""
    if machine not in _REGISTERS:
        raise BtfError(f"pbmon runs on {' and '.join(_REGISTERS)}, not on {machine}")
    reads = _NEEDED | _REGISTERS[machine]
    if raw_is_preemptible(btf):
        reads |= _TRACED
    members = {name: _needed(btf, name, *read) for name, read in reads.items()}
    optional = {name: _find(btf, name, *read) for name, read in _OPTIONAL.items()}
    members |= {name: member for name, member in optional.items() if member is not None}
    for file_system in _FILE_SYSTEMS:
        members |= _inodes(btf, file_system)
    bits = {name: _bits(btf, name, path) for name, path in _BITS.items()}
    found = {f"OFFSETOF_{name}": member.offset for name, member in (members | bits).items()}
    found |= {f"SHIFT_{name}": member.shift for name, member in bits.items()}
    found |= {f"MASK_{name}": (1 << (member.width or 8)) - 1 for name, member in bits.items()}
    return found | _spans(members) | _stack(btf, machine) | _abilities(btf)


def _inodes(btf: Btf, file_system: str) -> dict[str, Member]:
    """Return the members of a file system's own; none if any is missing, as before it is loaded."""
    found = {name: _find(btf, name, *read) for name, read in _FILE_SYSTEMS[file_system].items()}
    known = {name: member for name, member in found.items() if member is not None}
    return known if len(known) == len(found) else {}


def _spans(members: dict[str, Member]) -> dict[str, int]:
    """Return how much of each structure is read at once where reads are expensive."""
    kinds = [members["SK_TYPE"], members["SK_PROTOCOL"]]
    first = min(member.offset for member in kinds)
    inode = [member for name, member in members.items() if name.startswith("INODE_")]
    inode = [member for member in inode if member.offset < _INODE_READ_MAX]
    head = [member for name, member in members.items() if name.startswith("SKC_")]
    return {
        "SOCK_COMMON_SPAN": _span(head),
        "INODE_SPAN": _span(inode),
        "OFFSETOF_SK_KIND": first,
        "SK_KIND_SPAN": max(member.offset + member.size for member in kinds) - first,
    }


def _span(members: list[Member]) -> int:
    """Return the bytes from a structure's start to the end of its last member, rounded up to 8."""
    return (max(member.offset + member.size for member in members) + 7) // 8 * 8


def _stack(btf: Btf, machine: str) -> dict[str, int]:
    """Return where on a task's kernel stack the registers of its system call are."""
    return {
        "ARCH_ARM64": int(machine == "aarch64"),
        "SIZEOF_PT_REGS": btf.size("pt_regs") or 0,
        "THREAD_SIZE": max(_THREAD_SIZE, resource.getpagesize()),
        # Kernels for processors with FRED leave room above the registers, on every processor.
        "STACK_PADDING": btf.size("fred_info") or 0,
    }


def _abilities(btf: Btf) -> dict[str, int]:
    """Return which functions, tracepoints and tracepoint parameters the kernel has."""
    sockets = [btf.tracepoint_parameters(name) for name in SOCKET_TRACEPOINTS]
    return {
        "FUNCTION_RDONLY_CAST": btf.function("bpf_rdonly_cast") or 0,
        "SIZEOF_OVL_SB": btf.size("ovl_sb") or 0,
        "TYPE_SOCKADDR_STORAGE": btf.structure("__kernel_sockaddr_storage") or 0,
        "HAS_SENDPAGE": int(btf.member("proto_ops", "sendpage") is not None),
        "HAS_SOCKET_TRACEPOINTS": int(None not in sockets),
    }


def unseen(btf: Btf, *, sockets: bool) -> list[str]:
    """Return what this kernel does without passing a hook, or does not report, for people."""
    found = [
        "which file it is where a server of 9p uses an inode number again, without generations"
    ]
    later = [name for name in _SHARED_NUMBERS if not _inodes(btf, name)]
    if later:
        found.append(
            "which file it is where one inode number means several, at once or in turn: no types "
            f"of {', '.join(later)} when pbmond started"
        )
    if sockets and btf.structure("io_zcrx_ifq") is not None:
        found.append("io_uring receives without a copy (IORING_OP_RECV_ZC)")
    if btf.member("bpf_prog_info", "recursion_misses") is None:
        found.append(
            "calls during bpf(2) of other processes on their processor (Linux 5.12 counts them)"
        )
    return found


def _find(btf: Btf, name: str, size: int, path: str) -> Member | None:
    """Find the first alternative that the kernel has. BtfError if it has an unexpected size."""
    for alternative in path.split(" | "):
        structure, _, inner = alternative.partition(".")
        member = btf.member(structure, inner)
        if member is None:
            continue
        if member.width or size not in (INSIDE, member.size):
            what = f"{member.width} bits" if member.width else f"{member.size} bytes"
            raise BtfError(
                f"this kernel's {alternative} has {what}, not {size} bytes ({name}): "
                "pbmon does not support it"
            )
        return member
    return None


def _needed(btf: Btf, name: str, size: int, path: str) -> Member:
    member = _find(btf, name, size, path)
    if member is None:
        newest = path.partition(" | ")[0]
        raise BtfError(f"this kernel has no {newest} ({name}): pbmon does not support it")
    return member


def _bits(btf: Btf, name: str, path: str) -> Member:
    structure, _, inner = path.partition(".")
    member = btf.member(structure, inner)
    if member is None:
        raise BtfError(f"this kernel has no {path} ({name}): pbmon does not support it")
    if member.size != U8:
        raise BtfError(
            f"this kernel's {path} is not in one byte ({name}): pbmon does not support it"
        )
    return member
