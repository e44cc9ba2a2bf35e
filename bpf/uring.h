/* Bytes moved by io_uring requests on files: results of opcodes that are byte counts. */
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

INLINE bool count_request(void *request, s32 result)
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

#endif
