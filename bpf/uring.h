/* Bytes moved by io_uring: the results of those opcodes that return a number of bytes.
 *
 * A multishot request posts many results, and the tracepoint names the request only with the last one.
 * So such requests are remembered by their ring and user data when they are submitted or, if they are
 * older than the daemon, woken. Before Linux 5.18 the tracepoint never names the request, so every
 * request is remembered, along with all that is needed to count it. Requests with the same ring and
 * user data are assumed to end in the order in which they were submitted, as linked ones do.
 */
#ifndef PBMON_URING_H
#define PBMON_URING_H

/* enum io_uring_op of include/uapi/linux/io_uring.h */
#define OP_READV 1
#define OP_WRITEV 2
#define OP_READ_FIXED 4
#define OP_WRITE_FIXED 5
#define OP_SENDMSG 9
#define OP_RECVMSG 10
#define OP_READ 22
#define OP_WRITE 23
#define OP_SEND 26
#define OP_RECV 27
#define OP_SPLICE 30
#define OP_TEE 33
#define SPLICE_F_FD_IN_FIXED (1U << 31)
#define OP_SEND_ZC 47
#define OP_SENDMSG_ZC 48
#define OP_READ_MULTISHOT 49
#define OP_READV_FIXED 60
#define OP_WRITEV_FIXED 61

/* The direction of an opcode's bytes; -1: its result is not a number of bytes, or another hook counts it. */
INLINE int direction_of(u8 opcode)
{
	switch (opcode) {
	case OP_READ:
	case OP_READV:
	case OP_READ_FIXED:
	case OP_READV_FIXED:
	case OP_READ_MULTISHOT:
		return RX;
	case OP_WRITE:
	case OP_WRITEV:
	case OP_WRITE_FIXED:
	case OP_WRITEV_FIXED:
	case OP_SPLICE:
	case OP_TEE:
		return TX;
	case OP_RECV:
	case OP_RECVMSG:
		return SOCKETS_AT_EXIT ? RX : -1;
	case OP_SEND:
	case OP_SENDMSG:
	case OP_SEND_ZC:
	case OP_SENDMSG_ZC:
		return SOCKETS_AT_EXIT ? TX : -1;
	}
	return -1;
}

/* The task that submitted a request: another one may complete it, such as a kernel worker when the
 * ring is closed. */
INLINE void *task_of_request(void *request)
{
#ifdef OFFSETOF_REQUEST_TCTX
	return READ(void *, READ(void *, request, OFFSETOF_REQUEST_TCTX), OFFSETOF_TCTX_TASK);
#else
	return READ(void *, request, OFFSETOF_REQUEST_TASK);
#endif
}

/* A registered file, by its number. */
INLINE void *registered_file(void *request, u32 number)
{
	u64 file = 0;

#if defined(OFFSETOF_SPLICE_NODE) && defined(OFFSETOF_RSRC_NODE_FILE)
	void *node = READ(void *, request, OFFSETOF_SPLICE_NODE);

	if (node)
		file = READ(u64, node, OFFSETOF_RSRC_NODE_FILE);
#elif defined(OFFSETOF_RING_FILES) && defined(OFFSETOF_FIXED_FILE)
	void *files = READ(void *, READ(void *, request, OFFSETOF_REQUEST_RING), OFFSETOF_RING_FILES);

	if (files)
		file = READ(u64, files + (u64)number * 8, OFFSETOF_FIXED_FILE);
#endif
	/* The lowest bits are flags: two (IO_REQ_FILE_MASK, io_uring/filetable.h), once three. */
	return (void *)(file & ~7ULL);
}

/* The source of IORING_OP_SPLICE and IORING_OP_TEE: a registered file, or a descriptor. */
INLINE void *splice_source(void *request)
{
#ifdef OFFSETOF_SPLICE_FILE_IN
	return READ(void *, request, OFFSETOF_SPLICE_FILE_IN);
#else
	u32 number = READ(u32, request, OFFSETOF_SPLICE_FD_IN);

	if (READ(u32, request, OFFSETOF_SPLICE_FLAGS) & SPLICE_F_FD_IN_FIXED)
		return registered_file(request, number);
	return file_of(number);
#endif
}

/* What is needed to count the result of a request. */
struct known {
	struct process_key process;
	void *file;
	void *source; /* of a splice; else NULL */
	void *request;
	u8 opcode;
	u8 shared; /* two requests of the ring have this user data: it may be either */
	u16 zero;
	u32 ended;     /* in the first of a ring's requests with this user data: */
	u32 submitted; /* how many of them have ended, and how many were submitted */
	u32 more_zero;
};

INLINE void describe(struct known *known, void *request)
{
	known->opcode = READ(u8, request, OFFSETOF_REQUEST_OPCODE);
	if (direction_of(known->opcode) < 0)
		return;
	identify_other(task_of_request(request), &known->process);
	known->file = READ(void *, request, OFFSETOF_REQUEST_FILE);
	known->source = known->opcode == OP_SPLICE ? splice_source(request) : NULL;
}

struct known_key {
	u64 ring;
	u64 user_data;
	u32 number; /* among the ring's requests with this user data */
	u32 zero;
};

#if REMEMBERS_REQUESTS
INLINE void fill_known_key(struct known_key *key, void *request)
{
	key->ring = READ(u64, request, OFFSETOF_REQUEST_RING);
	key->user_data = READ(u64, request, OFFSETOF_REQUEST_USER_DATA);
}
#endif

#if REMEMBERS_REQUESTS && URING_COMPLETE_HAS_REQUEST
INLINE bool is_multishot(u8 opcode)
{
	return opcode == OP_READ_MULTISHOT ||
	       (SOCKETS_AT_EXIT &&
		(opcode == OP_RECV || opcode == OP_RECVMSG || opcode == OP_SEND || opcode == OP_SENDMSG));
}

/* A request was submitted or woken: remember it if it may post many results. */
INLINE void remember(void *request)
{
	struct known now = { .request = request };
	struct known_key key = {};

	if (!is_multishot(READ(u8, request, OFFSETOF_REQUEST_OPCODE)))
		return;
	fill_known_key(&key, request);
	struct known *known = map_lookup(MAP(KNOWN_REQUESTS), &key);
	if (known && known->request == request)
		return;
	now.shared = known != NULL;
	map_update(MAP(KNOWN_REQUESTS), &key, &now, 0);
}

/* A request has posted its last result. If two have the same user data, the other one stays. */
INLINE void forget(void *request)
{
	struct known_key key = {};

	fill_known_key(&key, request);
	struct known *known = map_lookup(MAP(KNOWN_REQUESTS), &key);
	if (known && !known->shared)
		map_delete(MAP(KNOWN_REQUESTS), &key);
}

/* The request of a result that does not name it; NULL: there is none that moves bytes. */
INLINE void *multishot_request(const struct known_key *key, u8 *shared)
{
	struct known *known = map_lookup(MAP(KNOWN_REQUESTS), key);
	struct known_key found;

	if (!known)
		return NULL;
	*shared = known->shared;
	fill_known_key(&found, known->request);
	if (found.ring != key->ring || found.user_data != key->user_data ||
	    !is_multishot(READ(u8, known->request, OFFSETOF_REQUEST_OPCODE)))
		return NULL;
	return known->request;
}

/* The bytes before the payload of each message of a multishot RECVMSG: struct io_uring_recvmsg_out, and
 * as much room for the name and the control data as the request reserved. */
INLINE s32 multishot_overhead(void *request)
{
#if SOCKETS_AT_EXIT && defined(OFFSETOF_ASYNC_MESSAGE_NAME_LENGTH)
	if (READ(u8, request, OFFSETOF_REQUEST_OPCODE) == OP_RECVMSG) {
		void *message = READ(void *, request, OFFSETOF_REQUEST_ASYNC_DATA);

		return 16 + READ(u32, message, OFFSETOF_ASYNC_MESSAGE_NAME_LENGTH) +
		       READ(u64, message, OFFSETOF_ASYNC_MESSAGE_CONTROL_LENGTH);
	}
#endif
	return 0;
}
#endif

#if REMEMBERS_REQUESTS && !URING_COMPLETE_HAS_REQUEST
/* A request was submitted: remember it. */
INLINE void remember(void *request)
{
	struct known now = { .request = request, .submitted = 1 };
	struct known_key key = {};

	describe(&now, request);
	fill_known_key(&key, request);
	struct known *first = map_lookup(MAP(KNOWN_REQUESTS), &key);
	if (first) /* one at a time: the ring's uring_lock */
		key.number = first->submitted++;
	if (map_update(MAP(KNOWN_REQUESTS), &key, &now, 0))
		record_loss(LOST_COMPLETIONS, 1);
}

/* Recall the request that has just completed. False: it is older than the daemon. */
INLINE bool recall(struct known_key *key, struct known *done)
{
	struct known *first = map_lookup(MAP(KNOWN_REQUESTS), key), *known = first;

	if (!first)
		return false;
	key->number = first->ended++; /* one at a time: the ring's completion_lock */
	if (key->number)
		known = map_lookup(MAP(KNOWN_REQUESTS), key);
	if (known)
		*done = *known;
	if (key->number)
		map_delete(MAP(KNOWN_REQUESTS), key);
	if (key->number + 1 >= first->submitted) {
		key->number = 0;
		map_delete(MAP(KNOWN_REQUESTS), key);
	}
	return known != NULL;
}
#endif

#if !REMEMBERS_REQUESTS
#define remember(request)
#endif

/* Count bytes of one of several requests: which file they belong to is not known, but their class is. */
INLINE void count_shared(const struct known *known, s32 bytes)
{
	void *inode = READ(void *, known->file, OFFSETOF_FILE_INODE);
	void *superblock = READ(void *, inode, OFFSETOF_INODE_SB);
	u32 class = file_class(READ(u16, inode, OFFSETOF_INODE_MODE),
			       READ(u64, superblock, OFFSETOF_SUPERBLOCK_MAGIC));

	record_loss(LOST_FILE_DETAIL, 1);
	count_overflow(&known->process, class, direction_of(known->opcode), bytes, 1);
}

INLINE bool count_known(const struct known *known, s32 result)
{
	int direction = direction_of(known->opcode);
	bool first = false;

	if (direction < 0 || result <= 0)
		return false;
	bool spliced = known->opcode == OP_SPLICE;
#pragma clang loop unroll(disable)
	for (int end = 0; end <= spliced; end++) {
		void *file = end ? known->source : known->file;

		first |= count_file(CONTEXT_RAW, &known->process, file, end ? RX : direction, result,
				    spliced);
	}
	return first;
}

#define CQE_BUFFER \
	1 /* IORING_CQE_F_BUFFER: set in multishot results with bytes, not in results of polls */

/* A completion. `request` is NULL if the request continues, or another ring posted the result. */
INLINE bool count_completion(struct known_key *key, void *request, s32 result, u32 flags)
{
	struct known known = {};

#if URING_COMPLETE_HAS_REQUEST
#if REMEMBERS_REQUESTS
	if (request) {
		if (is_multishot(READ(u8, request, OFFSETOF_REQUEST_OPCODE)))
			forget(request);
	} else if (result > 0 && flags & CQE_BUFFER) {
		request = multishot_request(key, &known.shared);
		if (request)
			result -= multishot_overhead(request);
	}
#endif
	if (!request || result <= 0)
		return false;
	describe(&known, request);
	known.shared &= known.opcode == OP_READ_MULTISHOT;
#elif REMEMBERS_REQUESTS
	if (!recall(key, &known) || result <= 0)
		return false;
#endif
	if (known.shared) {
		count_shared(&known, result);
		return false;
	}
	return count_known(&known, result);
}

#endif
