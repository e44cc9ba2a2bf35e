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
#define OP_SEND_ZC 47
#define OP_SENDMSG_ZC 48
#define OP_READV_FIXED 58
#define OP_WRITEV_FIXED 59

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

INLINE bool count_request(void *request, s32 result)
{
	struct process_key process;
	u8 opcode;
	int direction;

	if (!request || result <= 0)
		return false;
	opcode = READ(u8, request, OFFSETOF_REQUEST_OPCODE);
	direction = direction_of(opcode);
	if (direction < 0)
		return false;
	identify_other(task_of_request(request), &process);
	return count_file(CONTEXT_RAW, &process, READ(void *, request, OFFSETOF_REQUEST_FILE),
			  direction, result, opcode == OP_SPLICE);
}

#endif
