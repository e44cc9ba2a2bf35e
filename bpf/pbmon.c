/* The programs that the kernel runs: an entry point of a few lines for each hook, by area.
 *
 * bcc compiles this file. The loader (pbmond/loader) defines what is switched on, the offsets from BTF,
 * and the descriptors and sizes of the maps. What is counted is what a call returned, so every hook is at
 * the end of a call.
 */
#include <linux/types.h>
#include "pbmon.h"
#include "kernel_fields.h"

/* The two kinds of program. They cannot share tails, and must not share scratch space. */
#define CONTEXT_EXIT 0
#define CONTEXT_RAW 1

#include "tables.h"
#include "scratch.h"
#include "viewers.h"
#include "naming.h"
#include "processes.h"
#include "peers.h"
#include "tcp.h"
#include "sockets.h"
#include "identity.h"
#include "files.h"
#include "renames.h"
#include "queues.h"
#include "uring.h"
#include "messages.h"
#include "aio.h"
#include "calls.h"
#include "map_sizes.h"

/* One macro for each way to attach a program. The bodies do not depend on it. */
struct raw_arguments {
	u64 values[7];
};
#define SYSCALL_EXIT(name) int exit_##name(struct call *ctx)
#define RAW_TRACEPOINT(name) int raw_##name(struct raw_arguments *ctx)
/* An argument of a tracepoint, by its index; for perf, the field of the record that holds it (struct
 * trace_event_raw_*). */
#if TRACEPOINTS_BY_PERF
#define TRACED(type, index, offset) (*(type *)((void *)ctx + (offset)))
#else
#define TRACED(type, index, offset) ((type)ctx->values[index])
#endif

/* --- set-up ------------------------------------------------------------------------------ */

RAW_TRACEPOINT(fill)
{
	u32 table = ctx->values[0], end = ctx->values[1], count = ctx->values[2];

	if (table == 0)
		fill_free_slots(MAP(FLOW_FREE), end, count);
	else if (table == 1)
		fill_free_slots(MAP(FILE_FREE), end, count);
	else
		fill_free_slots(MAP(OVERFLOW_FREE), end, count);
	return 0;
}

/* --- new rows ---------------------------------------------------------------------------- */

/* The loader loads both a second time for tracepoint programs, with the maps of that context. Compiling
 * them twice would take a third of the daemon's start-up time. */
RAW_TRACEPOINT(first)
{
	count_deferred(ctx, CONTEXT_RAW, MAP(RAW_TAILS));
	return 0;
}

RAW_TRACEPOINT(walker)
{
	walk(ctx, CONTEXT_RAW, MAP(RAW_TAILS));
	return 0;
}

/* --- names of files as they are now -------------------------------------------------------- */

RAW_TRACEPOINT(look)
{
	look(ctx, CONTEXT_RAW, MAP(RAW_TAILS), ctx->values[0]);
	return 0;
}

/* --- processes --------------------------------------------------------------------------- */

RAW_TRACEPOINT(sched_process_exec)
{
	count_exec();
	continue_in(ctx, CONTEXT_RAW, MAP(RAW_TAILS), WALKER);
	return 0;
}

RAW_TRACEPOINT(sched_process_exit)
{
	if (count_exit())
		continue_in(ctx, CONTEXT_RAW, MAP(RAW_TAILS), WALKER);
	return 0;
}

/* --- sockets ----------------------------------------------------------------------------- */

#if SOCKETS
RAW_TRACEPOINT(inet_sock_set_state)
{
	if (ctx->values[2] == TCP_ESTABLISHED)
		remember_opening((void *)ctx->values[0], ctx->values[1]);
	see_tcp_state((void *)ctx->values[0], ctx->values[2]);
	return 0;
}

RAW_TRACEPOINT(tcp_retransmit_skb)
{
	see_retransmission((void *)ctx->values[0]);
	return 0;
}
#endif

#if SOCKETS && !SOCKETS_AT_EXIT
RAW_TRACEPOINT(sock_send_length)
{
	s32 result = TRACED(s32, 1, OFFSETOF_TRACED_SOCK_RESULT);
	void *sk = TRACED(void *, 0, OFFSETOF_TRACED_SOCK);
	struct process_key process;

	if (result > 0) {
		identify_current(&process);
		if (count_socket(CONTEXT_RAW, &process, sk, socket_inode(sk), TX, result))
			continue_in(ctx, CONTEXT_RAW, MAP(RAW_TAILS), FIRST);
	} else {
		skip_message(result < 0);
	}
	return 0;
}

RAW_TRACEPOINT(sock_recv_length)
{
	s32 result = TRACED(s32, 1, OFFSETOF_TRACED_SOCK_RESULT);
	u32 flags = TRACED(u32, 2, OFFSETOF_TRACED_SOCK_FLAGS);
	void *sk = TRACED(void *, 0, OFFSETOF_TRACED_SOCK);
	struct process_key process;

	if (result > 0 && !(flags & (MSG_PEEK | MSG_ERRQUEUE))) {
		identify_current(&process);
		if (count_socket(CONTEXT_RAW, &process, sk, socket_inode(sk), RX, result))
			continue_in(ctx, CONTEXT_RAW, MAP(RAW_TAILS), FIRST);
	}
	return 0;
}
#endif

/* --- descriptors ------------------------------------------------------------------------- */

#if FILES || SOCKETS_AT_EXIT
/* read, pread64, readv, preadv, preadv2 */
SYSCALL_EXIT(in)
{
	return count_one_end(ctx, RX);
}

/* write, pwrite64, writev, pwritev, pwritev2; and sendto, sendmsg where sockets count here */
SYSCALL_EXIT(out)
{
	return count_one_end(ctx, TX);
}

/* sendfile64 has its arguments in the opposite order. tee() does not consume its input, so only what it
 * wrote counts, as with a peek. The direction of vmsplice() is that of its end of the pipe. */
SYSCALL_EXIT(between)
{
	void *in = NULL, *out = NULL;

	if (ctx->result <= 0)
		return 0;
	u32 number = SYSCALL_NUMBER(task_registers(current_task()));
	if (number == NR_SENDFILE || number == NR32_SENDFILE64) {
		out = file_argument(CALL_ARGUMENT(ctx, 1), ctx->result);
		in = file_argument(CALL_ARGUMENT(ctx, 2), ctx->result);
	} else if (number == NR_TEE || number == NR32_TEE) {
		out = file_argument(CALL_ARGUMENT(ctx, 2), ctx->result);
	} else if (number == NR_VMSPLICE || number == NR32_VMSPLICE) {
		in = file_argument(CALL_ARGUMENT(ctx, 1), ctx->result);
		if (in && READ(u32, in, OFFSETOF_FILE_MODE) & FMODE_WRITE) {
			out = in;
			in = NULL;
		}
	} else { /* splice, copy_file_range */
		in = file_argument(CALL_ARGUMENT(ctx, 1), ctx->result);
		out = file_argument(CALL_ARGUMENT(ctx, 3), ctx->result);
	}
	return count_both_ends(ctx, in, out);
}

#if FILES
/* Returns 0; mq_timedreceive() returns bytes, so exit_in() serves. */
SYSCALL_EXIT(mq_timedsend)
{
	return ctx->result ? 0 : count_descriptor(ctx, TX, CALL_ARGUMENT(ctx, 3));
}

INLINE int count_queued(struct call *ctx, enum direction direction, s64 bytes)
{
	struct process_key process;

	if (bytes <= 0)
		return 0;
	identify_current(&process);
	if (count_queue(&process, direction, bytes))
		continue_in(ctx, CONTEXT_EXIT, MAP(EXIT_TAILS), FIRST);
	return 0;
}

SYSCALL_EXIT(msgsnd)
{
	return ctx->result ? 0 : count_queued(ctx, TX, CALL_ARGUMENT(ctx, 3));
}

SYSCALL_EXIT(msgrcv)
{
	return CALL_ARGUMENT(ctx, 5) & MSG_COPY ? 0 : count_queued(ctx, RX, ctx->result);
}
#endif

/* It may change who may see the process, and no other call does that to one that anybody but root may see:
 * such a process has no right to change its users. */
SYSCALL_EXIT(prctl)
{
	if (!ctx->result && CALL_ARGUMENT(ctx, 1) == PR_SET_DUMPABLE && announce_again(CONTEXT_EXIT))
		continue_in(ctx, CONTEXT_EXIT, MAP(EXIT_TAILS), WALKER);
	return 0;
}

SYSCALL_EXIT(io_setup)
{
	forget_ring(ctx);
	return 0;
}

SYSCALL_EXIT(io_submit)
{
	count_aio(ctx, true, AIO_REQUESTS_TAIL);
	return 0;
}

/* io_getevents, io_pgetevents */
SYSCALL_EXIT(io_results)
{
	count_aio(ctx, false, AIO_RESULTS_TAIL);
	return 0;
}

#if DISPATCHES
/* The end of every system call: used where programs on the calls' own tracepoints can be preempted. Its
 * record has the same layout as theirs. The calls of 32-bit programs have numbers of their own. */
SYSCALL_EXIT(dispatch)
{
	/* A failed sendmmsg may have sent a message. */
	if ((ctx->result >= 0 || ctx->number == NR_SENDMMSG) && !IS_32_BIT(current_task()))
		tail_call(ctx, MAP(CALLS), ctx->number);
	return 0;
}
#endif

/* io_uring_submit_req(req), io_uring_submit_sqe(req, ...), and before 5.18 (ring, req, ...) */
RAW_TRACEPOINT(io_uring_submit)
{
	remember(TRACED(void *, URING_SUBMIT_REQUEST_AT, OFFSETOF_TRACED_SUBMIT_REQUEST));
	return 0;
}

/* io_uring_task_add(req, mask) */
RAW_TRACEPOINT(io_uring_task_add)
{
	remember(TRACED(void *, 0, OFFSETOF_TRACED_WAKE_REQUEST));
	return 0;
}

/* io_uring_complete(ring, req, cqe); from 5.18 (ring, req, user_data, res, flags, ...); before
 * (ring, user_data, res, ...). */
RAW_TRACEPOINT(io_uring_complete)
{
	struct known_key key = { .ring = TRACED(u64, 0, OFFSETOF_TRACED_COMPLETE_RING) };
	void *request = NULL;
	u32 flags = 0;
	s32 result;

#if TRACEPOINTS_BY_PERF
	request = TRACED(void *, 1, OFFSETOF_TRACED_COMPLETE_REQUEST);
	key.user_data = TRACED(u64, 2, OFFSETOF_TRACED_COMPLETE_USER_DATA);
	result = TRACED(s32, 3, OFFSETOF_TRACED_COMPLETE_RESULT);
	flags = TRACED(u32, 4, OFFSETOF_TRACED_COMPLETE_FLAGS);
#elif URING_COMPLETE_HAS_CQE
	request = (void *)ctx->values[1];
	key.user_data = READ(u64, ctx->values[2], 0 /* struct io_uring_cqe: user_data, res, flags */);
	result = READ(s32, ctx->values[2], 8);
	flags = READ(u32, ctx->values[2], 12);
#elif URING_COMPLETE_HAS_REQUEST
	request = (void *)ctx->values[1];
	key.user_data = ctx->values[2];
	result = ctx->values[3];
	flags = ctx->values[4];
#else
	key.user_data = ctx->values[1];
	result = ctx->values[2];
#endif
	if (count_completion(&key, request, result, flags))
		continue_in(ctx, CONTEXT_RAW, MAP(RAW_TAILS), FIRST);
	return 0;
}

/* io_uring_cqe_overflow(ctx, user_data, res, ...): the tracepoint above does not fire then, and this one
 * does not name the request. */
RAW_TRACEPOINT(io_uring_cqe_overflow)
{
	if (TRACED(s32, 2, OFFSETOF_TRACED_OVERFLOW_RESULT) > 0)
		record_loss(LOST_COMPLETIONS, 1);
	return 0;
}
#endif

/* --- sockets, without a call that receives ------------------------------------------------- */

#if SOCKETS
SYSCALL_EXIT(getsockopt)
{
	if (!ctx->result && CALL_ARGUMENT(ctx, 2) == IPPROTO_TCP &&
	    CALL_ARGUMENT(ctx, 3) == TCP_ZEROCOPY_RECEIVE && count_mapped(ctx))
		continue_in(ctx, CONTEXT_EXIT, MAP(EXIT_TAILS), FIRST);
	return 0;
}
#endif

#if SOCKETS && !SOCKETS_AT_EXIT
SYSCALL_EXIT(sendmmsg)
{
	end_batch(ctx);
	return 0;
}
#endif

/* --- sockets on kernels without the socket tracepoints ------------------------------------- */

#if SOCKETS_AT_EXIT
INLINE bool is_peek(u64 flags)
{
	return flags & (MSG_PEEK | MSG_ERRQUEUE);
}

SYSCALL_EXIT(recvfrom)
{
	u64 flags = CALL_ARGUMENT(ctx, 4);

	return is_peek(flags) ? 0 : count_one_end(ctx, RX);
}

SYSCALL_EXIT(recvmsg)
{
	u64 flags = CALL_ARGUMENT(ctx, 3);

	return is_peek(flags) ? 0 : count_one_end(ctx, RX);
}

/* The result is a number of messages; the length of each is in the caller's vector. */
SYSCALL_EXIT(sendmmsg)
{
	count_sendmmsg(ctx);
	return 0;
}

SYSCALL_EXIT(recvmmsg)
{
	count_recvmmsg(ctx);
	return 0;
}
#endif
