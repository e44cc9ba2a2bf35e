/* What a chain of programs works on: notes, which one leaves to the next.
 *
 * A program that finds no row leaves the bytes in its processor's notes and tail-calls the program
 * "first", which claims the row and counts them; that queues what wants a name and tail-calls the
 * walker, which reads one path at a time and calls itself for the rest.
 *
 * Where the kernel may preempt a program (NOTES_SLOTS above 1), others run meanwhile on the same
 * processor. There a processor has several notes, and a thread has one of them from the first program
 * of a chain to the last.
 */
#ifndef PBMON_NOTES_H
#define PBMON_NOTES_H

#define WALKER 0            /* indexes of the two programs in the maps of their callers */
#define FIRST 1

#define NOTES_MAX 3         /* the process and the two files of one system call */
#define TEXT_SIZE 16384
#define NAME_MAX 256        /* a component with its NUL */
#define CMDLINE_MAX 4096

struct place {
	void *mnt;          /* struct vfsmount */
	void *dentry;
};

struct note {
	u32 kind;           /* EVENT_PROCESS or EVENT_FILE */
	u32 magic;          /* of a file, as is the inode */
	u64 inode;
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

INLINE void note(u32 context, const struct note *note)
{
	struct notes *notes = notes_of(context);
	u32 n = notes ? notes->queued : NOTES_MAX;

	if (n >= NOTES_MAX) {
		lose(LOST_EVENTS, 1);
		return;
	}
	notes->note[n] = *note;
	notes->queued = n + 1;
}

#endif
