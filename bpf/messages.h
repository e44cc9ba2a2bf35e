/* What is not one result of one call, counted on the way out of the system call: the messages of
 * sendmmsg and recvmmsg, and pages of a TCP socket that are mapped instead of copied. */
#ifndef PBMON_MESSAGES_H
#define PBMON_MESSAGES_H

INLINE void *socket_argument(u64 descriptor)
{
	void *file = file_of(descriptor);
	void *inode = file ? READ(void *, file, OFFSETOF_FILE_INODE) : NULL;

	if (!inode || (READ(u16, inode, OFFSETOF_INODE_MODE) & S_IFMT) != S_IFSOCK)
		return NULL;
	return READ(void *, socket_of(inode), OFFSETOF_SOCKET_SK);
}

#define TCP_ZEROCOPY_RECEIVE 35
#define ZEROCOPY_MAPPED 16 /* its struct as far as what was mapped, and what was copied */
#define ZEROCOPY_COPIED 36

/* struct tcp_zerocopy_receive of include/uapi/linux/tcp.h: what was mapped, and (since 5.11, where the
 * program's struct is long enough) what was copied. */
INLINE u64 mapped_bytes(u64 where, u64 size_at)
{
	struct {
		u64 address;
		u32 length;
		u32 skip;
		u32 waiting;
		s32 error;
		u64 copy_address;
		s32 copied;
	} answer = {};
	u32 size = 0;

	if (read_user(&size, sizeof(size), (void *)size_at))
		return 0;
	if (size < ZEROCOPY_COPIED)
		read_user(&answer, ZEROCOPY_MAPPED, (void *)where);
	else
		read_user(&answer, ZEROCOPY_COPIED, (void *)where);
	return answer.length + (answer.copied > 0 ? answer.copied : 0);
}

/* getsockopt(descriptor, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, value, size); true as in count_flow(). */
INLINE bool count_mapped(struct call *ctx)
{
	u64 bytes = mapped_bytes(CALL_ARGUMENT(ctx, 4), CALL_ARGUMENT(ctx, 5));
	void *sk = socket_argument(CALL_ARGUMENT(ctx, 1));
	struct process_key process;

	if (!bytes || !sk)
		return false;
	identify_current(&process);
	return count_socket(CONTEXT_EXIT, &process, sk, RX, bytes);
}

#if SOCKETS_AT_EXIT
#define SENDMMSG 2          /* index of this program among its tails */
#define MESSAGES_A_RUN 32  /* then it calls itself again: 33 times at most, for UIO_MAXIOV = 1,024 */
#define MESSAGES_MAX 1024   /* recvmmsg has no limit */

INLINE u32 length_of_message(u64 vector, u32 index)
{
	u32 length = 0;

	read_user(&length, sizeof(length), (void *)(vector + (u64)MMSGHDR_SIZE * index + MMSGHDR_LENGTH));
	return length;
}

/* Messages that all belong to the socket's own row; true as in count_flow(). */
INLINE bool count_alike(struct call *ctx, struct notes *notes, void *sk, enum direction direction)
{
	struct pending *sum = &notes->pending[1];
	u64 vector = CALL_ARGUMENT(ctx, 2);

	sum->bytes = sum->calls = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MESSAGES_MAX && i < ctx->result; i++) {
		u32 length = length_of_message(vector, i);

		sum->bytes += length;
		sum->calls += length > 0;
	}
	FORGET_PATH();
	if (ctx->result > MESSAGES_MAX)
		record_loss(LOST_BYTES, ctx->result - MESSAGES_MAX);
	return sum->bytes && count_flow(CONTEXT_EXIT, &notes->process, &sum->key, sk, direction,
					sum->bytes, sum->calls);
}

/* The message at hand of a socket whose messages have addresses of their own. The keys lie in the
 * notes, because the stack of a program is short, and because the verifier does not follow what is
 * there: the paths through one message are one path again before the next. */
INLINE void count_addressed(struct notes *notes, void *sk, u64 vector)
{
	struct pending *pending = &notes->pending[0];
	u32 class = 0, length = length_of_message(vector, notes->message);
	struct counter *counter;

	if (!length)
		return;
	pending->key = notes->pending[1].key;
	read_message_peer(&pending->key, vector + (u64)MMSGHDR_SIZE * notes->message);
	FORGET_PATH();
	counter = claim_flow(CONTEXT_EXIT, &notes->process, pending, &class);
	if (counter)
		count(counter, TX, length, 1);
	else
		count_overflow(&notes->process, class, TX, length, 1);
	FORGET_PATH();
}

/* The socket of the call, with its own key in the notes; NULL: there is none. */
INLINE void *socket_of_call(struct call *ctx, struct notes *notes)
{
	void *sk = socket_argument(CALL_ARGUMENT(ctx, 1));
	struct pending *pending = &notes->pending[0];

	if (!sk)
		return NULL;
	identify_current(&notes->process);
	pending->object = sk;
	pending->calls = 1;
	pending->state = 0;
	return fill_key(&notes->pending[1].key, &notes->process, sk) ? sk : NULL;
}

INLINE void count_recvmmsg(struct call *ctx)
{
	struct notes *notes;
	void *sk;

	if (ctx->result <= 0 || CALL_ARGUMENT(ctx, 4) & (MSG_PEEK | MSG_ERRQUEUE))
		return;
	notes = notes_of(CONTEXT_EXIT);
	if (!notes) {
		record_loss(LOST_BYTES, ctx->result);
		return;
	}
	sk = socket_of_call(ctx, notes);
	if (sk && count_alike(ctx, notes, sk, RX))
		tail_call(ctx, MAP(EXIT_TAILS), FIRST);
	release_notes(notes);
}

/* Messages that have addresses of their own, or may have. */
INLINE void count_all_addressed(struct call *ctx, struct notes *notes, void *sk)
{
	if (!notes->message) {
		notes->queued = notes->done = notes->walking = 0;
		meet_process(CONTEXT_EXIT, &notes->process);
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < MESSAGES_A_RUN && notes->message < ctx->result; i++) {
		count_addressed(notes, sk, CALL_ARGUMENT(ctx, 2));
		notes->message++;
	}
	if (notes->message < ctx->result)
		tail_call(ctx, MAP(EXIT_TAILS), SENDMMSG);
	notes->message = 0;
	if (notes->queued)
		tail_call(ctx, MAP(EXIT_TAILS), WALKER);
}

INLINE void count_sendmmsg(struct call *ctx)
{
	struct notes *notes = ctx->result > 0 ? notes_of(CONTEXT_EXIT) : NULL;
	void *sk;

	if (!notes) {
		if (ctx->result > 0)
			record_loss(LOST_BYTES, ctx->result);
		return;
	}
	sk = socket_of_call(ctx, notes);
	if (sk && takes_peers(&notes->pending[1].key))
		count_all_addressed(ctx, notes, sk);
	else if (sk && count_alike(ctx, notes, sk, TX))
		tail_call(ctx, MAP(EXIT_TAILS), FIRST);
	release_notes(notes);
}
#endif

#endif
