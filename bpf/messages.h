/* System calls whose result is not a number of bytes: sendmmsg and recvmmsg, which return a number of
 * messages, and getsockopt(TCP_ZEROCOPY_RECEIVE), which maps pages instead of copying them. */
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
#define ZEROCOPY_MAPPED 16 /* size of its struct up to the mapped length, and up to the copied length */
#define ZEROCOPY_COPIED 36

/* The bytes that were mapped and, since 5.11, if the program's struct has room for it, copied. See
 * struct tcp_zerocopy_receive in include/uapi/linux/tcp.h. */
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

/* getsockopt(descriptor, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, value, size). Returns what count_flow()
 * does. */
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
#define SENDMMSG 2 /* indexes of the two programs in their map of tails */
#define RECVMMSG 5
#define MESSAGES_PER_RUN 32 /* then it calls itself; 33 calls suffice for UIO_MAXIOV messages */
#define MESSAGES_MAX 1024   /* recvmmsg itself has no limit */

INLINE u32 length_of_message(u64 vector, u32 index)
{
	u32 length = 0;

	read_user(&length, sizeof(length), (void *)(vector + (u64)MMSGHDR_SIZE * index + MMSGHDR_LENGTH));
	return length;
}

/* Add up the messages of a call, which all belong to the socket's own row. */
INLINE void sum_messages(struct call *ctx, struct deferred *sum)
{
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
}

/* Count the next message of a socket whose messages have addresses of their own. The keys lie in the
 * scratch space because the stack of a program is short, and because the verifier does not track values
 * in a map: the paths through one message merge before the next begins. */
INLINE void count_addressed(struct scratch *scratch, void *sk, u64 vector)
{
	struct deferred *deferred = &scratch->deferred[0];
	u32 class = 0, length = length_of_message(vector, scratch->message);
	struct counter *counter;

	if (!length)
		return;
	deferred->key = scratch->deferred[1].key;
	read_message_peer(&deferred->key, vector + (u64)MMSGHDR_SIZE * scratch->message);
	FORGET_PATH();
	counter = claim_flow(CONTEXT_EXIT, &scratch->process, deferred, &class);
	if (counter)
		count(counter, TX, length, 1);
	else
		count_overflow(&scratch->process, class, TX, length, 1);
	FORGET_PATH();
}

/* The socket of the call, whose own key goes into the scratch space; NULL: there is none. */
INLINE void *socket_of_call(struct call *ctx, struct scratch *scratch)
{
	void *sk = socket_argument(CALL_ARGUMENT(ctx, 1));
	struct deferred *deferred = &scratch->deferred[0];

	if (!sk)
		return NULL;
	identify_current(&scratch->process);
	deferred->object = sk;
	deferred->calls = 1;
	deferred->state = 0;
	return fill_key(&scratch->deferred[1].key, &scratch->process, sk) ? sk : NULL;
}

/* Count the sum of a call's messages. Its direction is read only here: were it known before they are added
 * up, the verifier would go through the loop once for each. */
INLINE bool count_sum(struct scratch *scratch, void *sk)
{
	struct deferred *sum = &scratch->deferred[1];
	enum direction direction = scratch->sends ? TX : RX;

	scratch->sends = 0;
	return sum->bytes && count_flow(CONTEXT_EXIT, &scratch->process, &sum->key, sk, direction,
					sum->bytes, sum->calls);
}

/* The end of recvmmsg. That of sendmmsg continues here where messages have no addresses: one program with
 * both of its loops takes the verifier too long. */
INLINE void count_recvmmsg(struct call *ctx)
{
	struct scratch *scratch = ctx->result > 0 ? scratch_of(CONTEXT_EXIT) : NULL;
	bool peeks = CALL_ARGUMENT(ctx, 4) & (MSG_PEEK | MSG_ERRQUEUE);
	void *sk;

	if (!scratch) {
		if (ctx->result > 0 && !peeks)
			record_loss(LOST_BYTES, ctx->result);
		return;
	}
	sk = scratch->sends || !peeks ? socket_of_call(ctx, scratch) : NULL;
	if (sk) {
		sum_messages(ctx, &scratch->deferred[1]);
		if (count_sum(scratch, sk))
			tail_call(ctx, MAP(EXIT_TAILS), FIRST);
	}
	scratch->sends = 0;
	release_scratch(scratch);
}

/* Count messages that may have addresses of their own. */
INLINE void count_all_addressed(struct call *ctx, struct scratch *scratch, void *sk)
{
	if (!scratch->message) {
		scratch->name_count = scratch->names_sent = scratch->walking = 0;
		announce_process(CONTEXT_EXIT, &scratch->process);
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < MESSAGES_PER_RUN && scratch->message < ctx->result; i++) {
		count_addressed(scratch, sk, CALL_ARGUMENT(ctx, 2));
		scratch->message++;
	}
	if (scratch->message < ctx->result)
		tail_call(ctx, MAP(EXIT_TAILS), SENDMMSG);
	scratch->message = 0;
	if (scratch->name_count)
		tail_call(ctx, MAP(EXIT_TAILS), WALKER);
}

INLINE void count_sendmmsg(struct call *ctx)
{
	struct scratch *scratch = ctx->result > 0 ? scratch_of(CONTEXT_EXIT) : NULL;
	void *sk;

	if (!scratch) {
		if (ctx->result > 0)
			record_loss(LOST_BYTES, ctx->result);
		return;
	}
	sk = socket_of_call(ctx, scratch);
	if (sk && takes_peers(&scratch->deferred[1].key))
		count_all_addressed(ctx, scratch, sk);
	else if (sk) {
		scratch->sends = 1;
		tail_call(ctx, MAP(EXIT_TAILS), RECVMMSG);
		scratch->sends = 0;
		record_loss(LOST_BYTES, ctx->result);
	}
	release_scratch(scratch);
}
#endif

#endif
