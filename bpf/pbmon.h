/* The one contract between the eBPF programs and user space: map keys, values and events. */
#ifndef PBMON_H
#define PBMON_H

/* Classes of counted bytes. The numbers are indexes into pbmond.fields.CLASSES. */
enum pbmon_class {
	CLASS_NET = 0,      /* inet and inet6 with a remote peer */
	CLASS_LOOPBACK = 1, /* inet and inet6 that never leave the host */
	CLASS_UNIX = 2,
	CLASS_SOCKET = 3, /* every other address family */
	CLASS_FILE = 4,   /* regular files and block devices: storage */
	CLASS_PIPE = 5,
	CLASS_DEVICE = 6, /* character devices, anonymous inodes, pseudo file systems */
};

/* One process. The kernel reuses a tgid, but never with the same start time. 16 bytes. */
struct process_key {
	__u64 start_ns; /* CLOCK_BOOTTIME start of the thread group leader */
	__u32 tgid;
	__u32 zero;
};

/* One connection of one process. 56 bytes, no padding. */
struct flow_key {
	__u64 start_ns;
	__u8 local[16];  /* inet: 4 bytes and zeros; inet6: 16; others: zeros */
	__u8 remote[16]; /* all zeros: the peer is not known */
	__u32 tgid;
	__u16 local_port;  /* host byte order */
	__u16 remote_port; /* host byte order */
	__u16 protocol;    /* sk_protocol: IPPROTO_*, or the family's own number */
	__u8 family;       /* AF_* */
	__u8 type;         /* SOCK_* */
	__u32 inode;       /* tells sockets with the same ends apart, in one network namespace or two */
};

/* One file of one process, as bpf/identity.h tells files apart. 32 bytes, no padding. */
struct file_key {
	__u64 start_ns;
	__u64 inode;
	__u32 tgid;
	__u32 device;     /* of the file system, or of the subvolume (major << 20 | minor) */
	__u32 generation; /* i_generation: a reused inode number is another file */
	__u32 layer;      /* what else tells files with one number apart, or 0 */
};

/* A process and class: where bytes go when the two tables above are full. 16 bytes, no padding. */
struct overflow_key {
	__u64 start_ns;
	__u32 tgid;
	__u32 class;
};

enum pbmon_flag {
	FLAG_ACCEPTED = 1,      /* the connection came in through a listening socket */
	FLAG_UNLINKED = 2,      /* the inode has no names left */
	FLAG_CONNECTED = 4,     /* this process, or the one it got the socket from, called connect() */
	FLAG_OPENED = 8,        /* it was seen when the connection opened */
	FLAG_OWNER = 16,        /* the row takes the socket's retransmissions (bpf/tcp.h) */
	FLAG_OTHER_DEVICE = 32, /* stat may show another device for the file */
	FLAG_UNPLACED = 64,     /* the file's name was dropped from memory: ask for it at the next call */
};

/* What a row of any table counts: cumulative, never reset. 80 bytes, no padding.
 *
 * What only TCP has is 0 elsewhere. Retransmissions are counted since the row's first byte, or since
 * the connection was opened if that was seen; each is in one row. */
struct counter {
	__u64 rx_bytes; /* received or read */
	__u64 tx_bytes; /* sent or written */
	__u64 rx_calls;
	__u64 tx_calls;
	__u64 retransmitted_bytes;    /* TCP */
	__u64 id;                     /* use of the slot << 32 | slot: unique in one daemon run */
	__u64 first_ns;               /* CLOCK_BOOTTIME of the first byte; 0: the slot is free */
	__u32 retransmitted_segments; /* TCP */
	__u32 rtt_us; /* TCP: smoothed round-trip time when last looked at; 0: not known */
	__u32 netns;  /* flows: inode number of the network namespace */
	__u32 device; /* files: as stat shows it, but numbered as in the kernel (major << 20 | minor) */
	__u32 detail; /* flows: inode number of the socket; files: i_rdev of a device node */
	__u8 class;
	__u8 flags;
	__u8 tcp_state; /* TCP: enum of include/net/tcp_states.h when last looked at; 0: not known */
	__u8 zero;
};

/* A table is a hash map from keys to slot numbers, a stack of free slots, and an array of slots. User
 * space maps the array into its memory, so that reading takes no system call. */
struct flow_slot {
	struct flow_key key;
	struct counter counter;
};
struct file_slot {
	struct file_key key;
	struct counter counter;
};
struct overflow_slot {
	struct overflow_key key;
	struct counter counter;
};

/* Indexes of the array "lost": what is missing from the rows, and why. */
enum pbmon_lost {
	LOST_CONNECTION_DETAIL, /* calls that found no free connection row; they count for the process */
	LOST_FILE_DETAIL,       /* the same for files */
	LOST_BYTES,             /* bytes that are in no row at all */
	LOST_EVENTS,            /* events that did not fit into the ring buffer: a name may be missing */
	LOST_COMPLETIONS,       /* results of io_uring that found the completion ring full, and results
	                         * of io_submit that were overwritten unseen */
	LOST_COUNT,
};

enum pbmon_event {
	EVENT_PROCESS = 1, /* exec, or a process's first byte */
	EVENT_EXIT = 2,
	EVENT_FILE = 3,  /* a new file row, or one whose file was renamed: its path */
	EVENT_UNIX = 4,  /* a new row of a unix socket: its names */
	EVENT_SLOTS = 5, /* many slots were taken: only the beginning, without contents */
};

/* The beginning of every event. 32 bytes. */
struct event {
	__u32 kind;
	__u32 tgid;
	__u64 start_ns;
	__u64 time_ns;
	__u64 id; /* of the row, for EVENT_FILE and EVENT_UNIX */
};

/* In place of a uid: (uid_t)-1, which no user can have. */
#define NO_VIEWER 0xffffffff

/* EVENT_PROCESS and EVENT_FILE. 96 bytes, then the text: the components of the path, leaf first, each
 * terminated by NUL. For a process, its command line and the components of its cgroup follow. */
struct name_event {
	struct event head;
	__u32 ppid;
	__u32 uid;       /* effective */
	__u32 netns;     /* 0: not known */
	__u32 path_size; /* of the file, or of the executable */
	__u32 cmdline_size;
	__u32 cgroup_size;
	__u8 whole; /* the path is complete up to the process's root */
	__u8 pad[3];
	__u32 magic; /* of a file: s_magic of its superblock */
	__u64 inode; /* of a file */
	char comm[16];
	__u32 viewer; /* of a process: the only user but root who may see it, or NO_VIEWER */
	__u32 zero;
};
struct exit_event {
	struct event head;
	__u64 disk_read_bytes;
	__u64 disk_write_bytes;
};
struct unix_event {
	struct event head;
	__u64 remote_inode; /* 0: no peer */
	__u32 local_size;   /* of sun_path */
	__u32 remote_size;
	char local[112];
	char remote[112];
};

#endif
