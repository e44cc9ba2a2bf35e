/* The scratch space of a chain of programs, through which one hands data to the next.
 *
 * A program that finds no row puts the bytes into its processor's scratch space and tail-calls the
 * program "first", which claims a row and counts them. That one queues everything that needs a name
 * and tail-calls the walker, which reads one path at a time and calls itself for the next.
 *
 * Where the kernel may preempt a program (SCRATCH_SLOTS above 1), other programs can run on the same
 * processor in the meantime. There each processor has several scratch spaces, and a thread keeps one
 * from the first program of a chain to the last.
 */
#ifndef PBMON_SCRATCH_H
#define PBMON_SCRATCH_H

#define WALKER 0 /* indexes of the two programs in the maps of their callers */
#define FIRST 1
#define LOOK 2

#define NAMES_MAX 3 /* the process and the two files of one system call */
#define TEXT_SIZE 16384
#define NAME_MAX 256 /* a component with its NUL */
#define CMDLINE_MAX 4096

/* What the kernel's struct path holds. */
struct place {
	void *mnt; /* struct vfsmount */
	void *dentry;
};

/* A name for the walker to read and send. */
struct name_request {
	u32 kind;  /* EVENT_PROCESS or EVENT_FILE */
	u32 magic; /* of a file, as is the inode */
	u64 inode;
	u64 id;
	struct place place; /* of the file, or of the executable */
	struct place root;  /* where the path begins; NULL: at the current process's root */
};

/* Where the name of a file row was found: by slot of the table of files. */
struct file_name {
	struct place place;
	struct place root; /* where the path began */
	u64 print;         /* a hash of the path */
};

/* What bytes went through. */
enum target {
	TARGET_FILE,
	TARGET_FLOW,
	TARGET_QUEUE, /* of System V messages, which has no file */
};

/* Bytes that have found no row yet. */
struct deferred {
	void *object; /* struct file, or struct sock */
	u64 bytes;
	u64 calls;
	u32 direction;
	u32 kind;
	u32 state; /* of the socket */
	u32 zero;
	struct flow_key key;
};

/* A request of io_submit is identified by its address space, its ring and the address of its iocb. */
struct aio_key {
	u64 memory; /* struct mm_struct */
	u64 ring;
	u64 iocb; /* 0: the ring itself */
};

/* Where the bytes of a request go. */
struct aio_request {
	u64 id;   /* of the row */
	u32 slot; /* or NO_ROW, NO_TARGET */
	u8 is_flow;
	u8 direction;
	u8 class;
	u8 zero;
};

/* The file behind a descriptor, as found earlier in the same call. */
#define AIO_FOUND 16
struct aio_found {
	u64 call; /* its number; 0: none */
	u32 descriptor;
	u32 zero;
	struct aio_request request;
};

/* The state of one call, which handles one request at a time. All of it lies here because the verifier
 * does not track values in a map: the paths through one request merge before the next begins. */
struct aio_work {
	struct aio_key key;
	struct aio_request request;
	u64 call;      /* the number of this call */
	u64 lost;      /* results of this call */
	s64 result;    /* of the current request; 0 or less: it counts nothing */
	u8 unknown;    /* the target of the current request is not known yet */
	u8 remembered; /* the current request was in the map of requests */
	u8 direction;
	u8 programs;      /* that have run in this call, each tail-called by the one before */
	u32 descriptor;   /* of the current request */
	u32 slots;        /* of the ring */
	u32 from;         /* the first slot whose result was taken without a call */
	u32 passed;       /* how many were taken without a call */
	u16 taken_unseen; /* results of this ring have been taken without a call before */
	u16 shared;       /* several threads use this ring */
	struct aio_found found[AIO_FOUND];
};

/* What the programs of a chain share. `text` is longer than TEXT_SIZE, so that the last name fits. */
struct scratch {
	u32 claims; /* threads that try to get this space, or have it */
	u32 owner;  /* the thread that has it; 0: none */
	u32 deferred_count;
	u32 name_count;
	u32 names_sent;
	u32 message; /* the next one of sendmmsg or recvmmsg, or the next request of io_submit */
	struct deferred deferred[2];
	struct name_request names[NAMES_MAX];
	struct process_key process;
	struct place at; /* the walker's position */
	struct place root;
	u64 print;   /* a hash of the names that the walker has passed */
	u64 looking; /* the row whose name is compared (bpf/renames.h); 0: none */
	u32 walking;
	u32 used; /* bytes of text */
	u8 whole;
	u8 resume; /* the tail that continues after the walker; 0: none */
	u8 sends;  /* the next program counts what sendmmsg sent */
	u8 pad;
	u32 rest; /* results that are lost if it cannot be called */
	struct aio_work aio;
	struct name_event event; /* sent together with the text behind it */
	char text[TEXT_SIZE + CMDLINE_MAX];
};

INLINE struct scratch *scratch_at(u32 context, u32 slot)
{
	return map_lookup(context == CONTEXT_RAW ? MAP(RAW_SCRATCH) : MAP(EXIT_SCRATCH), &slot);
}

#if SCRATCH_SLOTS > 1
/* A thread gets the space if no other thread is claiming it. */
INLINE bool claim_scratch(struct scratch *scratch, u32 thread)
{
	__sync_fetch_and_add(&scratch->claims, 1);
	if (*(volatile u32 *)&scratch->claims != 1) {
		__sync_fetch_and_add(&scratch->claims, -1);
		return false;
	}
	scratch->deferred_count = scratch->name_count = scratch->names_sent = scratch->message = 0;
	scratch->walking = scratch->resume = scratch->sends = scratch->looking = 0;
	scratch->owner = thread;
	return true;
}

/* The scratch space of the chain that this thread is in, or a free one; NULL: none is free. */
INLINE struct scratch *scratch_of(u32 context)
{
	u32 thread = current_pid_tgid();
	struct scratch *scratch;

#pragma clang loop unroll(disable)
	for (u32 n = 0; n < SCRATCH_SLOTS; n++) {
		scratch = scratch_at(context, n);
		if (scratch && scratch->owner == thread)
			return scratch;
	}
#pragma clang loop unroll(disable)
	for (u32 n = 0; n < SCRATCH_SLOTS; n++) {
		scratch = scratch_at(context, n);
		if (scratch && claim_scratch(scratch, thread))
			return scratch;
	}
	return NULL;
}

INLINE void release_scratch(struct scratch *scratch)
{
	scratch->owner = 0;
	__sync_fetch_and_add(&scratch->claims, -1);
}
#else
INLINE struct scratch *scratch_of(u32 context)
{
	return scratch_at(context, 0);
}

INLINE void release_scratch(struct scratch *scratch)
{
	scratch->deferred_count = 0;
}
#endif

/* Continue in another program of the chain. If it cannot be called, the chain ends here. */
INLINE void continue_in(void *ctx, u32 context, void *tails, u32 index)
{
	tail_call(ctx, tails, index);
	struct scratch *scratch = scratch_of(context);

	if (scratch)
		release_scratch(scratch);
}

/* Leave bytes to the program "first". The caller fills in the rest of the result. NULL: they are lost,
 * and counted as lost. The result is in the scratch space because a program's stack is short. */
INLINE struct deferred *defer(u32 context, const struct process_key *process, void *object,
			      enum direction direction, u64 bytes, u64 calls)
{
	struct scratch *scratch = scratch_of(context);
	u32 n = scratch ? scratch->deferred_count : 2;

	if (n >= 2) {
		record_loss(LOST_BYTES, bytes);
		return NULL;
	}
	struct deferred *deferred = &scratch->deferred[n];
	scratch->process = *process;
	scratch->deferred_count = n + 1;
	deferred->object = object;
	deferred->bytes = bytes;
	deferred->calls = calls;
	deferred->direction = direction;
	return deferred;
}

INLINE void request_name(u32 context, const struct name_request *request)
{
	struct scratch *scratch = scratch_of(context);
	u32 n = scratch ? scratch->name_count : NAMES_MAX;

	if (n >= NAMES_MAX) {
		record_loss(LOST_EVENTS, 1);
		return;
	}
	scratch->names[n] = *request;
	scratch->name_count = n + 1;
}

#endif
