/* The one contract between the eBPF programs and user space: map keys, values and events. */
#ifndef PBMON_H
#define PBMON_H

/* Classes of counted bytes. The numbers are the indexes of pbmond.wire.CLASSES. */
enum pbmon_class {
	CLASS_NET = 0,      /* inet and inet6 with a remote peer */
	CLASS_LOOPBACK = 1, /* inet and inet6 that never leave the host */
	CLASS_UNIX = 2,
	CLASS_SOCKET = 3,   /* every other address family */
	CLASS_FILE = 4,     /* regular files and block devices: storage */
	CLASS_PIPE = 5,
	CLASS_DEVICE = 6,   /* character devices, anonymous inodes, pseudo file systems */
};

/* One connection of one process. 64 bytes, no padding. */
struct flow_key {
	__u64 start_ns;     /* CLOCK_BOOTTIME start of the thread group leader */
	__u8 local[16];     /* inet: 4 bytes and zeros; inet6: 16; others: socket inode in the first 8 */
	__u8 remote[16];    /* all zeros: the peer is not known */
	__u64 net;          /* address of struct net: tells namespaces apart, printed never */
	__u32 tgid;
	__u16 local_port;   /* host byte order */
	__u16 remote_port;  /* host byte order */
	__u16 protocol;     /* sk_protocol: IPPROTO_*, or the family's own number */
	__u8 family;        /* AF_* */
	__u8 type;          /* SOCK_* */
	__u32 zero;
};

/* One open file of one process. 32 bytes, no padding. */
struct file_key {
	__u64 start_ns;
	__u64 superblock;   /* address of struct super_block: tells file systems apart, printed never */
	__u64 inode;
	__u32 tgid;
	__u32 generation;   /* i_generation: a reused inode number is another file */
};

/* Where bytes go when the two maps above are full. 16 bytes, no padding. */
struct overflow_key {
	__u64 start_ns;
	__u32 tgid;
	__u32 class;
};

enum pbmon_flag {
	FLAG_ACCEPTED = 1,  /* the local end was listening */
	FLAG_UNLINKED = 2,  /* the inode has no name left */
};

/* The value of all three maps: cumulative, never reset. 72 bytes, no padding. */
struct counter {
	__u64 rx_bytes;     /* received or read */
	__u64 tx_bytes;     /* sent or written */
	__u64 rx_calls;
	__u64 tx_calls;
	__u64 id;           /* unique in one daemon run; events name their row by it */
	__u64 first_ns;     /* CLOCK_BOOTTIME of the first byte */
	__u32 netns;        /* flows: inode number of the network namespace */
	__u32 device;       /* files: s_dev, as the kernel keeps it (major << 20 | minor) */
	__u32 magic;        /* files: s_magic of the superblock */
	__u32 detail;       /* flows: inode number of the socket; files: i_rdev of a device node */
	__u16 mode;         /* files: i_mode */
	__u8 class;
	__u8 flags;
	__u32 zero;
};

#endif
