/* First sight: what is rare is kept out of the programs that count. Here are the names: the walker reads
 * the path of a file, or of a process's executable with all that tells who it is, and sends them.
 */
#ifndef PBMON_NAMING_H
#define PBMON_NAMING_H

#define PATH_STEPS 32       /* components a walker takes before it calls itself again */
#define CGROUP_STEPS 24

/* Wake the collector only when it has a good deal to read: it looks at every tick anyway. */
INLINE void emit(void *event, u64 size)
{
	u64 pending = ringbuf_query(MAP(EVENTS), 0 /* BPF_RB_AVAIL_DATA */);
	u64 wake = pending > EVENTS_SIZE / 4 ? 2 /* FORCE_WAKEUP */ : 1 /* NO_WAKEUP */;

	if (ringbuf_output(MAP(EVENTS), event, size, wake))
		lose(LOST_EVENTS, 1);
}

/* What a struct path says. */
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

/* Copy one name behind the text. The masks say to the verifier what the test above them says. */
INLINE void append(struct notes *notes, const void *name)
{
	u32 used = notes->used;

	if (used >= TEXT_SIZE - NAME_MAX)
		return;
	long size = read_kernel_string(&notes->text[used & (TEXT_SIZE - 1)], NAME_MAX, name);
	if (size > 0)
		notes->used = used + size;
}

/* One step towards the root: leave a mount, or take a name. True: the root is reached. */
INLINE bool step(struct notes *notes)
{
	void *dentry = notes->at.dentry, *mnt = notes->at.mnt;

	if (dentry == notes->root.dentry && mnt == notes->root.mnt)
		return true;
	if (dentry == READ(void *, mnt, OFFSETOF_VFSMOUNT_ROOT)) {
		void *mount = mnt - OFFSETOF_MOUNT_MNT, *parent = parent_mount(mnt);

		if (parent == mount || !parent)
			return true;
		notes->at.dentry = READ(void *, mount, OFFSETOF_MOUNT_MOUNTPOINT);
		notes->at.mnt = parent + OFFSETOF_MOUNT_MNT;
		return false;
	}
	void *parent = READ(void *, dentry, OFFSETOF_DENTRY_PARENT);
	if (parent == dentry || !parent) {
		/* The root of a file system with no mount of its own: pipes, memfd. */
		append(notes, READ(void *, dentry, OFFSETOF_DENTRY_NAME));
		return true;
	}
	append(notes, READ(void *, dentry, OFFSETOF_DENTRY_NAME));
	notes->at.dentry = parent;
	return false;
}

INLINE void start_walk(struct notes *notes, struct place place)
{
	void *fs = FIELD(void *, current_task(), OFFSETOF_TASK_FS);

	notes->root = place_at(fs + OFFSETOF_FS_ROOT);
	notes->at = place;
	notes->used = 0;
	notes->whole = 0;
	notes->walking = 1;
}

INLINE void append_cgroup(struct notes *notes)
{
	void *node = READ(void *, READ(void *, READ(void *, current_task(), OFFSETOF_TASK_CGROUPS),
				      OFFSETOF_CSS_SET_DFL_CGRP), OFFSETOF_CGROUP_KN);

#pragma clang loop unroll(disable)
	for (int i = 0; i < CGROUP_STEPS && node; i++) {
		void *parent = READ(void *, node, OFFSETOF_KERNFS_NODE_PARENT);

		if (parent)
			append(notes, READ(void *, node, OFFSETOF_KERNFS_NODE_NAME));
		node = parent;
	}
}

/* The command line lies in the process's own memory, freshly written at exec. */
INLINE u32 append_cmdline(struct notes *notes)
{
	void *mm = FIELD(void *, current_task(), OFFSETOF_TASK_MM);
	u64 start = mm ? READ(u64, mm, OFFSETOF_MM_ARG_START) : 0;
	u64 size = mm ? READ(u64, mm, OFFSETOF_MM_ARG_END) - start : 0;
	u32 used = notes->used;

	if (size > CMDLINE_MAX)
		size = CMDLINE_MAX;
	if (!size || used >= TEXT_SIZE)
		return 0;
	/* A page that is not in memory fails the whole read: take what the first page has. */
	if (read_user(&notes->text[used & (TEXT_SIZE - 1)], size, (void *)start)) {
		u64 first = PAGE_SIZE - (start & (PAGE_SIZE - 1));

		if (first >= size)
			return 0;
		size = first & (CMDLINE_MAX - 1);
		if (read_user(&notes->text[used & (TEXT_SIZE - 1)], size, (void *)start))
			return 0;
	}
	notes->used = used + size;
	return size;
}

INLINE void fill_head(struct event *head, u32 kind, const struct process_key *process, u64 id)
{
	head->kind = kind;
	head->tgid = process->tgid;
	head->start_ns = process->start_ns;
	head->time_ns = boottime_ns();
	head->id = id;
}

/* Who the current process is, beyond its key. Threads share all of it but the name, which is the
 * main thread's. */
INLINE void describe_process(struct name_event *event)
{
	void *leader = FIELD(void *, current_task(), OFFSETOF_TASK_GROUP_LEADER);
	void *nsproxy = FIELD(void *, current_task(), OFFSETOF_TASK_NSPROXY);
	void *parent = FIELD(void *, leader, OFFSETOF_TASK_REAL_PARENT);
	void *cred = FIELD(void *, leader, OFFSETOF_TASK_CRED);

	event->ppid = READ(u32, parent, OFFSETOF_TASK_TGID);
	event->uid = READ(u32, cred, OFFSETOF_CRED_EUID);
	event->netns = nsproxy ? READ(u32, READ(void *, nsproxy, OFFSETOF_NSPROXY_NET),
				      OFFSETOF_NET_NS_INUM) : 0;
	read_kernel(event->comm, sizeof(event->comm), leader + OFFSETOF_TASK_COMM);
}

INLINE void begin(struct notes *notes, const struct note *note)
{
	struct name_event *event = &notes->event;

	fill_head(&event->head, note->kind, &notes->process, note->id);
	event->magic = note->magic;
	event->inode = note->inode;
	event->cmdline_size = event->cgroup_size = 0;
	if (note->kind == EVENT_PROCESS)
		describe_process(event);
	start_walk(notes, note->place);
}

INLINE void finish(struct notes *notes)
{
	struct name_event *event = &notes->event;
	u64 text;

	/* append() drops what does not fit, which is the path's beginning. */
	event->whole = notes->whole && notes->used < TEXT_SIZE - NAME_MAX;
	event->path_size = notes->used;
	if (event->head.kind == EVENT_PROCESS) {
		event->cmdline_size = append_cmdline(notes);
		event->cgroup_size = -notes->used;
		append_cgroup(notes);
		event->cgroup_size += notes->used;
	}
	text = notes->used;
	/* Opaque to the compiler, which would test one copy and use another. */
	asm volatile("" : "+r"(text));
	if (text < TEXT_SIZE + CMDLINE_MAX)
		emit(event, sizeof(*event) + text);
	notes->walking = 0;
	notes->done++;
}

/* The walker's body: some steps of the item at hand, then once more, or the next item. */
INLINE void walk(void *ctx, u32 context, void *walkers)
{
	struct notes *notes = notes_of(context);

	if (!notes)
		return;
	notes->aio.programs++;
	u32 n = notes->done;
	if (n >= NOTES_MAX || n >= notes->queued)
		goto rest;
	if (!notes->walking)
		begin(notes, &notes->note[n]);
#pragma clang loop unroll(disable)
	for (int i = 0; i < PATH_STEPS; i++) {
		if (step(notes)) {
			notes->whole = 1;
			finish(notes);
			break;
		}
	}
	if (notes->done < notes->queued) {
		tail_call(ctx, walkers, WALKER);
		/* Too deep for the kernel's limit of tail calls: send what there is. */
		if (notes->walking)
			finish(notes);
	}
rest:
	notes->queued = notes->done = notes->walking = 0;
	if (notes->resume) {
		tail_call(ctx, walkers, notes->resume);
		lose(LOST_COMPLETIONS, notes->rest);
		notes->message = notes->resume = 0;
	}
	release_notes(notes);
}

#endif
