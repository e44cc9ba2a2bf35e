/* First sight: what is rare is kept out of the programs that count.
 *
 * A program that finds no row leaves the bytes in its processor's notes and tail-calls the program
 * "first", which claims the row and counts them; that queues what wants a name and tail-calls the
 * walker, which reads one path at a time and calls itself for the rest.
 *
 * Where the kernel may preempt a program (NOTES_SLOTS above 1), others run meanwhile on the same
 * processor. There a processor has several notes, and a thread has one of them from the first program
 * of a chain to the last.
 */
#ifndef PBMON_NAMING_H
#define PBMON_NAMING_H

#define WALKER 0            /* indexes of the two programs in the maps of their callers */
#define FIRST 1

#define NOTES_MAX 3         /* the process and the two files of one system call */
#define TEXT_SIZE 16384
#define NAME_MAX 256        /* a component with its NUL */
#define CMDLINE_MAX 4096
#define PATH_STEPS 32       /* components a walker takes before it calls itself again */
#define CGROUP_STEPS 24

struct place {
	void *mnt;          /* struct vfsmount */
	void *dentry;
};

struct note {
	u32 kind;           /* EVENT_PROCESS or EVENT_FILE */
	u32 zero;
	u64 id;
	struct place place; /* of the file, or of the executable */
};

/* Bytes that found no row yet. */
struct pending {
	void *object;       /* struct file, or struct sock */
	u64 bytes;
	u64 calls;
	u32 direction;
	u32 is_flow;
	u32 state;          /* of the socket */
	u32 zero;
	struct flow_key key;
};

/* A request of io_submit is known by its ring and the address of its iocb in its memory. */
struct aio_key {
	u64 memory;         /* struct mm_struct */
	u64 ring;
	u64 iocb;           /* 0: the ring itself */
};

/* Where the bytes of a request go. */
struct aio_request {
	u64 id;             /* of the row */
	u32 slot;           /* or NO_ROW, NO_TARGET */
	u8 is_flow;
	u8 direction;
	u8 class;
	u8 zero;
};

/* The file that a descriptor was found to be, earlier in the same call. */
#define AIO_FOUND 16
struct aio_found {
	u64 call;           /* which; 0: none */
	u32 descriptor;
	u32 zero;
	struct aio_request request;
};

/* One call at a time, one of its requests at a time. It all lies here because the verifier does not
 * follow what is in a map: the paths through one request are one path again before the next. */
struct aio_work {
	struct aio_key key;
	struct aio_request request;
	u64 call;           /* counts the calls */
	u64 lost;           /* results of this call */
	s64 result;         /* of the request at hand; not above 0: it counts nothing */
	u8 unknown;         /* where the request at hand belongs is not known yet */
	u8 noted;           /* it had a note */
	u8 direction;
	u8 programs;        /* run in this call so far, each by a tail call of the one before */
	u32 descriptor;     /* that it is for */
	u32 slots;          /* of the ring */
	u32 from;           /* where results lie that were taken without a call */
	u32 passed;         /* how many */
	u16 unattended;     /* results of this ring have been taken so before */
	u16 shared;         /* several threads use this ring */
	struct aio_found found[AIO_FOUND];
};

/* What "first" and the walker work on. `text` has room behind TEXT_SIZE for the last name written. */
struct notes {
	u32 claims;         /* threads that want these notes, or have them */
	u32 owner;          /* the thread that has them; 0: none */
	u32 pending_count;
	u32 queued;
	u32 done;
	u32 message;        /* of sendmmsg or recvmmsg, or request of io_submit: which comes next */
	struct pending pending[2];
	struct note note[NOTES_MAX];
	struct process_key process;
	struct place at;    /* where the walk stands */
	struct place root;
	u32 walking;
	u32 used;           /* bytes of text */
	u8 whole;
	u8 resume;          /* the tail that goes on when the walker is done; 0: none */
	u16 pad;
	u32 rest;           /* results that are lost if it cannot */
	struct aio_work aio;
	struct name_event event; /* goes out as one with the text behind it */
	char text[TEXT_SIZE + CMDLINE_MAX];
};

/* Wake the collector only when it has a good deal to read: it looks at every tick anyway. */
INLINE void emit(void *event, u64 size)
{
	u64 pending = ringbuf_query(MAP(EVENTS), 0 /* BPF_RB_AVAIL_DATA */);
	u64 wake = pending > EVENTS_SIZE / 4 ? 2 /* FORCE_WAKEUP */ : 1 /* NO_WAKEUP */;

	if (ringbuf_output(MAP(EVENTS), event, size, wake))
		lose(LOST_EVENTS, 1);
}

INLINE struct notes *notes_at(u32 context, u32 slot)
{
	return map_lookup(context == CONTEXT_RAW ? MAP(RAW_NOTES) : MAP(EXIT_NOTES), &slot);
}

#if NOTES_SLOTS > 1
/* Whoever alone wants these notes has them. */
INLINE bool claim_notes(struct notes *notes, u32 thread)
{
	__sync_fetch_and_add(&notes->claims, 1);
	if (*(volatile u32 *)&notes->claims != 1) {
		__sync_fetch_and_add(&notes->claims, -1);
		return false;
	}
	notes->pending_count = notes->queued = notes->done = notes->message = 0;
	notes->walking = notes->resume = 0;
	notes->owner = thread;
	return true;
}

/* The notes of the chain of programs that the thread is in, or free ones; NULL: there are none. */
INLINE struct notes *notes_of(u32 context)
{
	u32 thread = current_pid_tgid();
	struct notes *notes;

#pragma clang loop unroll(disable)
	for (u32 n = 0; n < NOTES_SLOTS; n++) {
		notes = notes_at(context, n);
		if (notes && notes->owner == thread)
			return notes;
	}
#pragma clang loop unroll(disable)
	for (u32 n = 0; n < NOTES_SLOTS; n++) {
		notes = notes_at(context, n);
		if (notes && claim_notes(notes, thread))
			return notes;
	}
	return NULL;
}

INLINE void release_notes(struct notes *notes)
{
	notes->owner = 0;
	__sync_fetch_and_add(&notes->claims, -1);
}
#else
INLINE struct notes *notes_of(u32 context)
{
	return notes_at(context, 0);
}

INLINE void release_notes(struct notes *notes)
{
	notes->pending_count = 0;
}
#endif

/* Go on in another program of the chain. If it cannot be called, the chain ends here. */
INLINE void go_on(void *ctx, u32 context, void *tails, u32 index)
{
	tail_call(ctx, tails, index);
	struct notes *notes = notes_of(context);

	if (notes)
		release_notes(notes);
}

/* Where to leave bytes to the program "first"; NULL: they are lost, and counted so. What lies in the
 * notes need not lie on the stack, which is short. */
INLINE struct pending *defer(u32 context, const struct process_key *process, void *object,
			     enum direction direction, u64 bytes, u64 calls)
{
	struct notes *notes = notes_of(context);
	u32 n = notes ? notes->pending_count : 2;

	if (n >= 2) {
		lose(LOST_BYTES, bytes);
		return NULL;
	}
	struct pending *pending = &notes->pending[n];
	notes->process = *process;
	notes->pending_count = n + 1;
	pending->object = object;
	pending->bytes = bytes;
	pending->calls = calls;
	pending->direction = direction;
	return pending;
}

INLINE void note(u32 context, u32 kind, u64 id, struct place place)
{
	struct notes *notes = notes_of(context);
	u32 n = notes ? notes->queued : NOTES_MAX;

	if (n >= NOTES_MAX) {
		lose(LOST_EVENTS, 1);
		return;
	}
	notes->note[n].kind = kind;
	notes->note[n].id = id;
	notes->note[n].place = place;
	notes->queued = n + 1;
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
