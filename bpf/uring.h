/* Bytes moved by io_uring requests on files: results of opcodes that are byte counts.
 *
 * A multishot request posts many results, and the tracepoint names it with the last alone. So the
 * requests that may do that are remembered by their ring and user data when they are submitted, or
 * woken (one that is older than the daemon).
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

/* Which way the result's bytes went; -1: the result is no byte count, or not ours to count. */
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

/* The completion may run in another task (a kernel worker while a ring dies): the request knows
 * whose it is. */
INLINE void *task_of_request(void *request)
{
#ifdef OFFSETOF_REQUEST_TCTX
	return READ(void *, READ(void *, request, OFFSETOF_REQUEST_TCTX), OFFSETOF_TCTX_TASK);
#else
	return READ(void *, request, OFFSETOF_REQUEST_TASK);
#endif
}

/* What IORING_OP_SPLICE reads from: a registered file, or a descriptor. */
INLINE void *splice_source(void *request)
{
#if defined(OFFSETOF_SPLICE_FD_IN) && defined(OFFSETOF_RSRC_NODE_FILE)
	if (READ(u32, request, OFFSETOF_SPLICE_FLAGS) & SPLICE_F_FD_IN_FIXED) {
		void *node = READ(void *, request, OFFSETOF_SPLICE_NODE);

		/* The two lowest bits of io_rsrc_node.file_ptr are flags. */
		return node ? (void *)(READ(u64, node, OFFSETOF_RSRC_NODE_FILE) & ~3ULL) : NULL;
	}
	return file_of(READ(u32, request, OFFSETOF_SPLICE_FD_IN));
#else
	return NULL;
#endif
}

#if HAS_SHOTS
struct shots_key {
	u64 ring;
	u64 user_data;
};
struct shots {
	void *request;
	u64 shared;         /* two requests of the ring have the same user data: which, nobody knows */
};

INLINE bool has_shots(u8 opcode)
{
	return opcode == OP_READ_MULTISHOT ||
	       (SOCKETS_AT_EXIT && (opcode == OP_RECV || opcode == OP_RECVMSG || opcode == OP_SEND ||
				    opcode == OP_SENDMSG));
}

INLINE void fill_shots_key(struct shots_key *key, void *request)
{
	key->ring = READ(u64, request, OFFSETOF_REQUEST_RING);
	key->user_data = READ(u64, request, OFFSETOF_REQUEST_USER_DATA);
}

INLINE void remember_shots(void *request)
{
	struct shots shots = { .request = request };
	struct shots_key key;

	if (!has_shots(READ(u8, request, OFFSETOF_REQUEST_OPCODE)))
		return;
	fill_shots_key(&key, request);
	struct shots *known = map_lookup(MAP(SHOTS), &key);
	if (known && known->request == request)
		return;
	shots.shared = known != NULL;
	map_update(MAP(SHOTS), &key, &shots, 0);
}

/* With its last result a request is done; one of two with the same user data leaves the other. */
INLINE void forget_shots(void *request)
{
	struct shots_key key;

	fill_shots_key(&key, request);
	struct shots *known = map_lookup(MAP(SHOTS), &key);
	if (known && !known->shared)
		map_delete(MAP(SHOTS), &key);
}

/* The request that a result without one is of; NULL: it is none that moves bytes. */
INLINE void *request_of_shot(u64 ring, u64 user_data, bool *shared)
{
	struct shots_key key = { .ring = ring, .user_data = user_data }, found;
	struct shots *known = map_lookup(MAP(SHOTS), &key);

	if (!known)
		return NULL;
	*shared = known->shared;
	fill_shots_key(&found, known->request);
	if (found.ring != ring || found.user_data != user_data ||
	    !has_shots(READ(u8, known->request, OFFSETOF_REQUEST_OPCODE)))
		return NULL;
	return known->request;
}

/* What precedes the payload of each message of a multishot RECVMSG: struct io_uring_recvmsg_out, the
 * name and the control data, each with the room that the request gave it. */
INLINE s32 overhead_of_shot(void *request)
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
#else
#define remember_shots(request)
#endif

/* Bytes of one of several files of one class: which, nobody knows. */
INLINE void count_shared(const struct process_key *process, void *file, s32 bytes)
{
	void *inode = READ(void *, file, OFFSETOF_FILE_INODE);
	void *superblock = READ(void *, inode, OFFSETOF_INODE_SB);
	u32 class = file_class(READ(u16, inode, OFFSETOF_INODE_MODE),
			       READ(u64, superblock, OFFSETOF_SUPERBLOCK_MAGIC));

	lose(LOST_FILE_DETAIL, 1);
	count_overflow(process, class, RX, bytes, 1);
}

INLINE bool count_request(void *request, s32 result, bool shared)
{
	struct process_key process;
	u8 opcode;
	int direction;
	bool first = false;

	if (!request || result <= 0)
		return false;
	opcode = READ(u8, request, OFFSETOF_REQUEST_OPCODE);
	direction = direction_of(opcode);
	if (direction < 0)
		return false;
	identify_other(task_of_request(request), &process);
	if (shared && opcode == OP_READ_MULTISHOT) {
		count_shared(&process, READ(void *, request, OFFSETOF_REQUEST_FILE), result);
		return false;
	}
	bool spliced = opcode == OP_SPLICE;
#pragma clang loop unroll(disable)
	for (int end = 0; end <= spliced; end++) {
		void *file = end ? splice_source(request) :
				   READ(void *, request, OFFSETOF_REQUEST_FILE);

		first |= count_file(CONTEXT_RAW, &process, file, end ? RX : direction, result,
				    spliced);
	}
	return first;
}

#define CQE_BUFFER 1 /* IORING_CQE_F_BUFFER: what shots of bytes have, and those of polls have not */

/* A completion: `request` is NULL where a request that goes on posts one, or another ring does. */
INLINE bool count_completion(u64 ring, void *request, u64 user_data, s32 result, u32 flags)
{
	bool shared = false;

#if HAS_SHOTS
	if (request) {
		if (has_shots(READ(u8, request, OFFSETOF_REQUEST_OPCODE)))
			forget_shots(request);
	} else if (result > 0 && flags & CQE_BUFFER) {
		request = request_of_shot(ring, user_data, &shared);
		if (request)
			result -= overhead_of_shot(request);
	}
#endif
	return count_request(request, result, shared);
}

#endif
