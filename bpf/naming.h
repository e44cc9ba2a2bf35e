/* Names. The walker reads the path of a new file, or all that identifies a new process, and sends it.
 *
 * This happens once for each row, so it is kept out of the programs that count.
 */
#ifndef PBMON_NAMING_H
#define PBMON_NAMING_H

#define PATH_STEPS 32 /* components that the walker reads before it calls itself */
#define CGROUP_STEPS 24

/* Send an event. False: it is lost. Wake the collector for what is urgent, or if much data is waiting: it
 * reads at every tick anyway. */
INLINE bool emit(void *event, u64 size, bool urgent)
{
	u64 unread = ringbuf_query(MAP(EVENTS), 0 /* BPF_RB_AVAIL_DATA */);
	u64 wake = urgent || unread > EVENTS_SIZE / 4 ? 2 /* FORCE_WAKEUP */ : 1 /* NO_WAKEUP */;

	if (!ringbuf_output(MAP(EVENTS), event, size, wake))
		return true;
	record_loss(LOST_EVENTS, 1);
	return false;
}

/* The contents of a struct path. */
INLINE struct place place_at(void *path)
{
	struct place place = {
		.mnt = READ(void *, path, OFFSETOF_PATH_MNT),
		.dentry = READ(void *, path, OFFSETOF_PATH_DENTRY),
	};

	return place;
}

INLINE void *parent_mount(void *mnt)
{
	return READ(void *, mnt - OFFSETOF_MOUNT_MNT, OFFSETOF_MOUNT_PARENT);
}

/* Append one name to the text. The mask tells the verifier what the test above it ensures. */
INLINE void append(struct scratch *scratch, const void *name)
{
	u32 used = scratch->used;

	if (used >= TEXT_SIZE - NAME_MAX)
		return;
	long size = read_kernel_string(&scratch->text[used & (TEXT_SIZE - 1)], NAME_MAX, name);
	if (size > 0)
		scratch->used = used + size;
}

/* Add a dentry's name to the hash of the path. The kernel has a hash of each name, mixed with the parent's
 * address, and its length (struct qstr). */
INLINE void add_to_print(struct scratch *scratch, void *dentry)
{
	scratch->print = (scratch->print + READ(u64, dentry, OFFSETOF_DENTRY_HASH)) *
			 0x9e3779b97f4a7c15ull;
}

/* One step towards the root: leave a mount, or pass a name, which is returned in `named`. True: the root
 * is reached. */
INLINE bool climb(struct scratch *scratch, void **named)
{
	void *dentry = scratch->at.dentry, *mnt = scratch->at.mnt;

	*named = NULL;
	if (dentry == scratch->root.dentry && mnt == scratch->root.mnt)
		return true;
	if (dentry == READ(void *, mnt, OFFSETOF_VFSMOUNT_ROOT)) {
		void *mount = mnt - OFFSETOF_MOUNT_MNT, *parent = parent_mount(mnt);

		if (parent == mount || !parent)
			return true;
		scratch->at.dentry = READ(void *, mount, OFFSETOF_MOUNT_MOUNTPOINT);
		scratch->at.mnt = parent + OFFSETOF_MOUNT_MNT;
		return false;
	}
	*named = dentry;
	add_to_print(scratch, dentry);
	void *parent = READ(void *, dentry, OFFSETOF_DENTRY_PARENT);
	/* The root of a file system that is not mounted anywhere: pipes, memfd. */
	if (parent == dentry || !parent)
		return true;
	scratch->at.dentry = parent;
	return false;
}

/* One step of the walker. True: the root is reached. */
INLINE bool step(struct scratch *scratch)
{
	void *named;
	bool whole = climb(scratch, &named);

	if (named)
		append(scratch, READ(void *, named, OFFSETOF_DENTRY_NAME));
	return whole;
}

INLINE void start_walk(struct scratch *scratch, const struct name_request *request)
{
	if (request->root.dentry) {
		scratch->root = request->root;
	} else {
		void *fs = FIELD(void *, current_task(), OFFSETOF_TASK_FS);

		scratch->root = place_at(fs + OFFSETOF_FS_ROOT);
	}
	scratch->at = request->place;
	scratch->print = 0;
	scratch->used = 0;
	scratch->whole = 0;
	scratch->walking = 1;
}

/* The cgroup of a task, in the v2 hierarchy. */
INLINE void *cgroup_of(void *task)
{
	return READ(void *, READ(void *, task, OFFSETOF_TASK_CGROUPS), OFFSETOF_CSS_SET_DFL_CGRP);
}

/* Whether this is the first process of a service or a container: its parent is in another cgroup. A
 * container may end, and its name with it, before the next tick. */
INLINE bool enters_cgroup(void)
{
	void *leader = FIELD(void *, current_task(), OFFSETOF_TASK_GROUP_LEADER);
	void *parent = FIELD(void *, leader, OFFSETOF_TASK_REAL_PARENT);

	return cgroup_of(leader) != cgroup_of(parent);
}

INLINE void append_cgroup(struct scratch *scratch)
{
	void *node = READ(void *, cgroup_of(current_task()), OFFSETOF_CGROUP_KN);

#pragma clang loop unroll(disable)
	for (int i = 0; i < CGROUP_STEPS && node; i++) {
		void *parent = READ(void *, node, OFFSETOF_KERNFS_NODE_PARENT);

		if (parent)
			append(scratch, READ(void *, node, OFFSETOF_KERNFS_NODE_NAME));
		node = parent;
	}
}

/* The command line is in the process's own memory, where exec has just written it. */
INLINE u32 append_cmdline(struct scratch *scratch)
{
	void *mm = FIELD(void *, current_task(), OFFSETOF_TASK_MM);
	u64 start = mm ? READ(u64, mm, OFFSETOF_MM_ARG_START) : 0;
	u64 size = mm ? READ(u64, mm, OFFSETOF_MM_ARG_END) - start : 0;
	u32 used = scratch->used;

	if (size > CMDLINE_MAX)
		size = CMDLINE_MAX;
	if (!size || used >= TEXT_SIZE)
		return 0;
	/* If a page is not in memory, the whole read fails: take what is in the first page. */
	if (read_user(&scratch->text[used & (TEXT_SIZE - 1)], size, (void *)start)) {
		u64 first = PAGE_SIZE - (start & (PAGE_SIZE - 1));

		if (first >= size)
			return 0;
		size = first & (CMDLINE_MAX - 1);
		if (read_user(&scratch->text[used & (TEXT_SIZE - 1)], size, (void *)start))
			return 0;
	}
	scratch->used = used + size;
	return size;
}

INLINE void fill_event(struct event *head, u32 kind, const struct process_key *process, u64 id)
{
	head->kind = kind;
	head->tgid = process->tgid;
	head->start_ns = process->start_ns;
	head->time_ns = boottime_ns();
	head->id = id;
}

/* What identifies the current process beyond its key. Its threads share all of it except the name,
 * which is the main thread's. */
INLINE void describe_process(struct name_event *event)
{
	void *leader = FIELD(void *, current_task(), OFFSETOF_TASK_GROUP_LEADER);
	void *nsproxy = FIELD(void *, current_task(), OFFSETOF_TASK_NSPROXY);
	void *parent = FIELD(void *, leader, OFFSETOF_TASK_REAL_PARENT);
	void *cred = FIELD(void *, leader, OFFSETOF_TASK_CRED);

	event->ppid = READ(u32, parent, OFFSETOF_TASK_TGID);
	event->uid = READ(u32, cred, OFFSETOF_CRED_EUID);
	event->viewer = viewer_of(current_task(), leader);
	event->netns = nsproxy ? READ(u32, READ(void *, nsproxy, OFFSETOF_NSPROXY_NET),
				      OFFSETOF_NET_NS_INUM) :
				 0;
	read_kernel(event->comm, sizeof(event->comm), leader + OFFSETOF_TASK_COMM);
}

INLINE void begin_name(struct scratch *scratch, const struct name_request *request)
{
	struct name_event *event = &scratch->event;

	fill_event(&event->head, request->kind, &scratch->process, request->id);
	event->magic = request->magic;
	event->inode = request->inode;
	event->cmdline_size = event->cgroup_size = 0;
	if (request->kind == EVENT_PROCESS)
		describe_process(event);
	start_walk(scratch, request);
}

/* Remember where a file's name was found, so that it can be compared later (bpf/renames.h). One that was
 * not sent differs from any. */
INLINE void remember_name(struct scratch *scratch, const struct name_request *request, bool sent)
{
	u32 slot = request->id;
	struct file_name *name = map_lookup(MAP(FILE_NAMES), &slot);

	if (!name)
		return;
	name->place = request->place;
	name->root = scratch->at;
	name->print = sent ? scratch->print : 0;
	/* A pipe, say, is below nothing, and a path that is too long is not known. */
	if (!scratch->whole || name->root.dentry == name->place.dentry)
		name->place.dentry = NULL;
}

INLINE void finish_name(struct scratch *scratch, const struct name_request *request)
{
	struct name_event *event = &scratch->event;
	bool urgent = false;
	u64 text;

	/* append() drops what does not fit, which is the beginning of the path. */
	event->whole = scratch->whole && scratch->used < TEXT_SIZE - NAME_MAX;
	event->path_size = scratch->used;
	if (event->head.kind == EVENT_PROCESS) {
		event->cmdline_size = append_cmdline(scratch);
		event->cgroup_size = -scratch->used;
		append_cgroup(scratch);
		event->cgroup_size += scratch->used;
		urgent = enters_cgroup();
	}
	text = scratch->used;
	/* Hide it from the compiler, which would test one copy and use another. */
	asm volatile("" : "+r"(text));
	bool sent = text < TEXT_SIZE + CMDLINE_MAX && emit(event, sizeof(*event) + text, urgent);
	if (event->head.kind == EVENT_FILE)
		remember_name(scratch, request, sent);
	scratch->walking = 0;
	scratch->names_sent++;
}

/* The body of the walker: some steps of the current path; then it calls itself for the rest. */
INLINE void walk(void *ctx, u32 context, void *walkers)
{
	struct scratch *scratch = scratch_of(context);

	if (!scratch)
		return;
	scratch->aio.programs++;
	u32 n = scratch->names_sent;
	if (n >= NAMES_MAX || n >= scratch->name_count)
		goto rest;
	struct name_request *request = &scratch->names[n];
	if (!scratch->walking)
		begin_name(scratch, request);
#pragma clang loop unroll(disable)
	for (int i = 0; i < PATH_STEPS; i++) {
		if (step(scratch)) {
			scratch->whole = 1;
			finish_name(scratch, request);
			break;
		}
	}
	if (scratch->names_sent < scratch->name_count) {
		tail_call(ctx, walkers, WALKER);
		/* The kernel's limit of tail calls is reached: send what there is. */
		if (scratch->walking)
			finish_name(scratch, request);
	}
rest:
	scratch->name_count = scratch->names_sent = scratch->walking = 0;
	if (scratch->resume) {
		tail_call(ctx, walkers, scratch->resume);
		record_loss(LOST_COMPLETIONS, scratch->rest);
		scratch->message = scratch->resume = 0;
	}
	release_scratch(scratch);
}

#endif
