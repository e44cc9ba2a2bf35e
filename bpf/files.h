/* Bytes of files, pipes and devices: from a descriptor to the open file, its class and its row. */
#ifndef PBMON_FILES_H
#define PBMON_FILES_H

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFIFO 0010000
#define FMODE_WRITE 2

/* File systems whose regular files show the kernel's state instead of storing data. The numbers are
 * from include/uapi/linux/magic.h and the sources of the file systems. */
INLINE bool is_pseudo(u32 magic)
{
	switch (magic) {
	case 0x9fa0:     /* proc */
	case 0x62656572: /* sysfs */
	case 0x27e0eb:   /* cgroup */
	case 0x63677270: /* cgroup2 */
	case 0x74726163: /* tracefs */
	case 0x64626720: /* debugfs */
	case 0x73636673: /* securityfs */
	case 0xcafe4a11: /* bpf */
	case 0x62656570: /* configfs */
	case 0x65735543: /* fusectl */
	case 0xf97cff8c: /* selinuxfs */
	case 0x43415d53: /* smackfs */
	case 0x5a3c69f0: /* apparmorfs */
	case 0xde5e81e4: /* efivarfs */
	case 0x6165676c: /* pstore */
	case 0x1cd1:     /* devpts */
	case 0x42494e4d: /* binfmt_misc */
	case 0x19800202: /* mqueue */
	case 0x6e736673: /* nsfs */
	case 0x7655821:  /* resctrl */
	case 0x9041934:  /* anonymous inodes */
	case 0x50494446: /* pidfs */
	case 0x67596969: /* rpc_pipefs */
	case 0x6c6f6f70: /* binderfs */
	case 0x454d444d: /* devmem */
	case 0x444d4142: /* dma-buf */
		return true;
	}
	return false;
}

INLINE u32 file_class(u32 mode, u32 magic)
{
	switch (mode & S_IFMT) {
	case S_IFIFO:
		return CLASS_PIPE;
	case S_IFBLK:
		return CLASS_FILE;
	case S_IFREG:
		return is_pseudo(magic) ? CLASS_DEVICE : CLASS_FILE;
	}
	return CLASS_DEVICE;
}

/* The open file behind a descriptor of the current task; NULL: another thread has closed it. */
INLINE void *file_of(u32 descriptor)
{
	void *files = FIELD(void *, current_task(), OFFSETOF_TASK_FILES);
	if (!files)
		return NULL;
	void *table = FIELD(void *, files, OFFSETOF_FILES_FDT);
	if (descriptor >= FIELD(u32, table, OFFSETOF_FDTABLE_MAX_FDS))
		return NULL;
	return READ(void *, FIELD(void *, table, OFFSETOF_FDTABLE_FD), (u64)descriptor * 8);
}

#define PROC_MAGIC 0x9fa0
#define PROC_ROOT_INODE 1
#define PROC_DYNAMIC_FIRST 0xf0000000 /* fs/proc/generic.c: below it, inodes come and go */

/* The files of processes in /proc keep getting new inodes. A program that reads them (ps, top, a monitor)
 * would fill the table with rows that are never used again, so they share one row, "/proc". */
INLINE bool is_fleeting(const struct file_key *key, u32 magic)
{
	return magic == PROC_MAGIC && key->inode < PROC_DYNAMIC_FIRST;
}

INLINE struct place place_of(void *file, const struct file_key *key, u32 magic)
{
	struct place place = place_at(file + OFFSETOF_FILE_PATH);

	if (is_fleeting(key, magic))
		place.dentry = READ(void *, place.mnt, OFFSETOF_VFSMOUNT_ROOT);
	return place;
}

INLINE void request_file_name(u32 context, const struct file_slot *row, void *file, u32 magic)
{
	struct name_request request = {
		.kind = EVENT_FILE,
		.magic = magic,
		.inode = row->key.inode,
		.id = row->counter.id,
		.place = place_of(file, &row->key, magic),
	};

	request_name(context, &request);
}

INLINE struct file_slot *first_file(u32 context, const struct file_key *key, void *file, void *inode,
				    const struct inode_head *head, u32 magic)
{
	u32 slot, device;

	if (!take_slot(MAP(FILE_FREE), &slot))
		return NULL;
	struct file_slot *row = map_lookup(MAP(FILE_SLOTS), &slot);
	if (!row)
		return NULL;
	row->key = *key;
	row->counter.id = next_id(row->counter.id, slot);
	row->counter.class = file_class(HEAD(u16, head, OFFSETOF_INODE_MODE), magic);
	device = shown_device(key, inode, magic);
	row->counter.device = device ? device : key->device;
	row->counter.detail = HEAD(u32, head, OFFSETOF_INODE_RDEV);
	row->counter.flags = HEAD(u32, head, OFFSETOF_INODE_NLINK) ? 0 : FLAG_UNLINKED;
	if (!device)
		row->counter.flags |= FLAG_OTHER_DEVICE;
	wake_after(NOTE_SLOT(file, slot));
	if (!publish(MAP(FILE_INDEX), MAP(FILE_FREE), key, &slot, &row->counter))
		return find(MAP(FILE_INDEX), MAP(FILE_SLOTS), key);
	request_file_name(context, row, file, magic);
	return row;
}

INLINE void fill_file(struct file_key *key, const struct process_key *process, void *inode,
		      const struct inode_head *head)
{
	key->start_ns = process->start_ns;
	key->tgid = process->tgid;
	identify_file(key, inode, head);
}

/* The counter of a file that had none; NULL: the table is full, and its bytes belong to `class`. */
INLINE struct counter *claim_file(u32 context, const struct process_key *process,
				  const struct deferred *deferred, u32 *class)
{
	void *inode = READ(void *, deferred->object, OFFSETOF_FILE_INODE);
	struct inode_head head = {};
	struct file_key key = {};
	struct file_slot *row;
	u32 magic;

	READ_HEAD(&head, inode);
	fill_file(&key, process, inode, &head);
	magic = magic_of(HEAD(u64, &head, OFFSETOF_INODE_SB));
	if (is_fleeting(&key, magic)) {
		key.inode = PROC_ROOT_INODE;
		key.generation = 0;
	}
	row = find(MAP(FILE_INDEX), MAP(FILE_SLOTS), &key);
	if (!row) {
		row = first_file(context, &key, deferred->object, inode, &head, magic);
	} else if (row->counter.flags & FLAG_UNPLACED) {
		row->counter.flags &= ~FLAG_UNPLACED;
		request_file_name(context, row, deferred->object, magic);
	}
	if (row)
		return &row->counter;
	*class = file_class(HEAD(u16, &head, OFFSETOF_INODE_MODE), magic);
	record_loss(LOST_FILE_DETAIL, 1);
	return NULL;
}

/* Count one call on a file that is not a socket. True: the program "first" must run. */
INLINE bool count_inode(u32 context, const struct process_key *process, void *file, void *inode,
			const struct inode_head *head, enum direction direction, u64 bytes)
{
	struct file_key key = {};
	struct file_slot *row;

	fill_file(&key, process, inode, head);
	row = find_by_hint(MAP(FILE_HINTS), hint_of(process, (u64)inode), MAP(FILE_INDEX),
			   MAP(FILE_SLOTS), &key, sizeof(key));
	if (!row || row->counter.flags & FLAG_UNPLACED) {
		struct deferred *deferred = defer(context, process, file, direction, bytes, 1);

		if (!deferred)
			return false;
		deferred->kind = TARGET_FILE;
		return true;
	}
	count(&row->counter, direction, bytes, 1);
	if (!HEAD(u32, head, OFFSETOF_INODE_NLINK))
		row->counter.flags |= FLAG_UNLINKED;
	return false;
}

INLINE void *socket_of(void *inode)
{
	return inode - OFFSETOF_SOCKET_ALLOC_INODE;
}

/* Whether a socket has its own splice_read(), which bypasses sock_recvmsg() and so the tracepoint.
 * For other sockets, the kernel calls recvmsg. */
INLINE bool splices_itself(void *inode)
{
	return READ(void *, READ(void *, socket_of(inode), OFFSETOF_SOCKET_OPS),
		    OFFSETOF_PROTO_OPS_SPLICE_READ) != NULL;
}

/* Whether this hook counts a socket that was reached through its descriptor. Otherwise the tracepoints
 * count it. */
INLINE bool is_counted_here(void *inode, enum direction direction, bool spliced)
{
	if (SOCKETS_AT_EXIT)
		return true;
	if (!SOCKETS || !spliced)
		return false;
	/* Before 6.5, sendpage() bypassed sock_sendmsg(). */
	return direction == RX ? splices_itself(inode) : HAS_SENDPAGE;
}

/* Count one end of a call, given its open file. True: the program "first" must run. */
INLINE bool count_file(u32 context, const struct process_key *process, void *file,
		       enum direction direction, u64 bytes, bool spliced)
{
	void *inode = file ? READ(void *, file, OFFSETOF_FILE_INODE) : NULL;
	struct inode_head head;

	if (!inode || READ_HEAD(&head, inode)) {
		record_loss(LOST_BYTES, bytes);
		return false;
	}
	if ((HEAD(u16, &head, OFFSETOF_INODE_MODE) & S_IFMT) != S_IFSOCK)
		return FILES && count_inode(context, process, file, inode, &head, direction, bytes);
	if (!is_counted_here(inode, direction, spliced))
		return false;
	return count_socket(context, process, READ(void *, socket_of(inode), OFFSETOF_SOCKET_SK),
			    HEAD(u64, &head, OFFSETOF_INODE_INO), direction, bytes);
}

/* Claim a row for deferred bytes, and count them there. */
INLINE void count_deferred_bytes(u32 context, const struct process_key *process,
				 struct deferred *deferred)
{
	struct counter *counter = NULL;
	u32 class = CLASS_DEVICE;

	if (deferred->kind == TARGET_FLOW)
		counter = claim_flow(context, process, deferred, &class);
	else if (deferred->kind == TARGET_FILE)
		counter = claim_file(context, process, deferred, &class);
	if (counter)
		count(counter, deferred->direction, deferred->bytes, deferred->calls);
	else
		count_overflow(process, class, deferred->direction, deferred->bytes, deferred->calls);
}

/* The body of the program "first". */
INLINE void count_deferred(void *ctx, u32 context, void *tails)
{
	struct scratch *scratch = scratch_of(context);

	if (!scratch)
		return;
	scratch->name_count = scratch->names_sent = scratch->walking = 0;
	announce_process(context, &scratch->process);
#pragma clang loop unroll(disable)
	for (u32 n = 0; n < 2 && n < scratch->deferred_count; n++)
		count_deferred_bytes(context, &scratch->process, &scratch->deferred[n]);
	scratch->deferred_count = 0;
	if (scratch->name_count)
		tail_call(ctx, tails, WALKER);
	release_scratch(scratch);
}

#endif
