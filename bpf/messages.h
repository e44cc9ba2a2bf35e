/* Receives that are not one result of one call, counted on the way out of the system call: the
 * messages of sendmmsg and recvmmsg, and pages of a TCP socket that are mapped instead of copied. */
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
#define MESSAGES 2          /* index of this program among its tails */
#define MESSAGES_A_RUN 32   /* then it calls itself again: 33 times at most, for UIO_MAXIOV = 1,024 */

struct message {
	u64 name;
	u32 name_size;
	u32 pad;
};

/* A message with an address of its own is another row than the connection. The keys lie in the
 * notes, because the stack of a program is short. */
INLINE void count_message(struct notes *notes, void *sk, u64 where, enum direction direction)
{
	struct process_key *process = &notes->process;
	struct flow_key *key = &notes->pending[1].key;
	struct flow_slot *row;
	u32 length = 0;

	if (read_user(&length, sizeof(length), (void *)(where + MMSGHDR_LENGTH)) || !length)
		return;
	*key = notes->pending[0].key;
	if (direction == TX && takes_peers(key))
		read_message_peer(key, where);
	row = find(MAP(FLOW_INDEX), MAP(FLOW_SLOTS), key);
	if (!row)
		row = first_flow(CONTEXT_EXIT, process, key, sk, 0);
	if (row) {
		count(&row->counter, direction, length, 1);
	} else {
		lose(LOST_CONNECTION_DETAIL, 1);
		count_overflow(process, socket_class(key, sk), direction, length, 1);
	}
}

INLINE bool fill_notes(struct notes *notes, void *sk)
{
	identify_current(&notes->process);
	if (!fill_key(&notes->pending[0].key, &notes->process, sk))
		return false;
	notes->queued = notes->done = notes->walking = 0;
	return true;
}

INLINE void count_messages(struct call *ctx, enum direction direction)
{
	struct notes *notes = notes_of(CONTEXT_EXIT);
	u64 vector = CALL_ARGUMENT(ctx, 2);
	void *sk = socket_argument(CALL_ARGUMENT(ctx, 1));
	s64 messages = ctx->result;

	if (messages <= 0 || !notes || !sk)
		return;
	if (direction == RX && CALL_ARGUMENT(ctx, 4) & (MSG_PEEK | MSG_ERRQUEUE))
		return;
	if (!notes->message) {
		if (!fill_notes(notes, sk))
			return;
		meet_process(CONTEXT_EXIT, &notes->process);
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < MESSAGES_A_RUN && notes->message < messages; i++) {
		count_message(notes, sk, vector + MMSGHDR_SIZE * notes->message, direction);
		notes->message++;
	}
	if (notes->message < messages)
		tail_call(ctx, MAP(EXIT_TAILS), MESSAGES);
	notes->message = 0;
	if (notes->queued)
		tail_call(ctx, MAP(EXIT_TAILS), WALKER);
}
#else
#define count_messages(ctx, direction)
#endif

#endif
