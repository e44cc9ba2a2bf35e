/* The destination of a datagram, which is in the system call and not in the socket. */
#ifndef PBMON_PEERS_H
#define PBMON_PEERS_H

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3

INLINE u16 host_order(u16 port)
{
	return __builtin_bswap16(port);
}

INLINE void copy_address(u8 *to, const void *from)
{
	__builtin_memcpy(to, from, 16);
}

struct peer {
	u16 family;
	u16 port; /* network byte order, as in struct sockaddr_in and sockaddr_in6 */
	u8 rest[24];
};

/* An IPv4 address in IPv6 notation. */
INLINE bool is_mapped(const u8 *address)
{
	const u32 *words = (const u32 *)address;

	return !words[0] && !words[1] && words[2] == __builtin_bswap32(0xffff);
}

/* What is sent to 0.0.0.0 goes to the socket's own address, or to 127.0.0.1 if it has none; what is sent
 * to :: goes to ::1 (ip_route_output_key_hash_rcu(), udpv6_sendmsg()). */
INLINE void resolve_any(struct flow_key *key)
{
	const u32 *local = (const u32 *)key->local;
	u32 *remote = (u32 *)key->remote;

	if (key->family == AF_INET)
		remote[0] = remote[0] ?: local[0] ?: __builtin_bswap32(0x7f000001);
	else if (is_mapped(key->remote))
		remote[3] = remote[3]                                      ?:
				    (is_mapped(key->local) ? local[3] : 0) ?:
									     __builtin_bswap32(0x7f000001);
	else if (!remote[0] && !remote[1] && !remote[2] && !remote[3])
		remote[3] = __builtin_bswap32(1);
}

INLINE void take_peer(struct flow_key *key, const struct peer *peer)
{
	if (peer->family == AF_INET) {
		__builtin_memset(key->remote, 0, 16);
		if (key->family == AF_INET) {
			__builtin_memcpy(key->remote, peer->rest, 4);
		} else {
			key->remote[10] = key->remote[11] = 0xff;
			__builtin_memcpy(key->remote + 12, peer->rest, 4);
		}
	} else if (peer->family == AF_INET6 && key->family == AF_INET6) {
		copy_address(key->remote, peer->rest + 4);
	} else {
		return;
	}
	key->remote_port = host_order(peer->port);
	resolve_any(key);
}

INLINE void read_peer(struct flow_key *key, u64 address, u64 size)
{
	struct peer peer = {};

	if (!address || size < 16)
		return;
	/* An IPv4 address has 16 bytes; the memory behind it may not be readable. */
	if (read_user(&peer, 16, (void *)address))
		return;
	if (size >= 28)
		read_user(&peer, 28, (void *)address);
	take_peer(key, &peer);
}

#define UIO_MAXIOV 1024

/* The next message in a thread's sendmmsg. The call ends with a failed message, or the last; one whose
 * address, vector or length cannot be read or written ends it without the tracepoint, so end_batch(). */
struct batch {
	u64 vector;
	u32 next;
	u32 zero;
};

INLINE u32 batch_index(u64 vector, u32 length, bool failed)
{
	u64 thread = current_pid_tgid();
	if (length > UIO_MAXIOV)
		length = UIO_MAXIOV; /* as the kernel does */
	struct batch *batch = map_lookup(MAP(BATCHES), &thread);
	u32 index = batch && batch->vector == vector && batch->next < length ? batch->next : 0;
	struct batch next = { .vector = vector, .next = index + 1 };

	if (failed || index + 1 >= length)
		map_delete(MAP(BATCHES), &thread);
	else
		map_update(MAP(BATCHES), &thread, &next, 0);
	return index;
}

#define MMSGHDR_SIZE 64 /* struct mmsghdr; its msghdr begins with the name and its length */
#define MMSGHDR_LENGTH 56

INLINE void read_message_peer(struct flow_key *key, u64 message)
{
	struct {
		u64 name;
		u32 size;
		u32 pad;
	} head = {};

	if (!read_user(&head, sizeof(head), (void *)message))
		read_peer(key, head.name, head.size);
}

INLINE void peer_of_call(struct flow_key *key)
{
	void *registers = task_registers(current_task());
	u64 call = SYSCALL_NUMBER(registers);

	if (call == NR_SENDTO) {
		u64 address = ARGUMENT(registers, 5);

		/* A connected socket mostly sends without an address: save the other load. */
		if (address)
			read_peer(key, address, ARGUMENT(registers, 6));
	} else if (call == NR_SENDMSG) {
		read_message_peer(key, ARGUMENT(registers, 2));
	} else if (call == NR_SENDMMSG) {
		read_message_peer(key, ARGUMENT(registers, 2) +
					       MMSGHDR_SIZE * batch_index(ARGUMENT(registers, 2),
									  ARGUMENT(registers, 3), false));
	}
}

/* A message of sendmmsg moved no bytes: it was empty, or failed, which ends the call. */
INLINE void skip_message(bool failed)
{
	void *registers = task_registers(current_task());

	if (SYSCALL_NUMBER(registers) == NR_SENDMMSG)
		batch_index(ARGUMENT(registers, 2), ARGUMENT(registers, 3), failed);
}

/* The end of sendmmsg: the next one begins with its first message, even of the same vector. Where all
 * messages were sent, the last of them has ended the batch. */
INLINE void end_batch(struct call *ctx)
{
	u64 thread = current_pid_tgid(), length = CALL_ARGUMENT(ctx, 3) & 0xffffffff;

	if (ctx->result != (length > UIO_MAXIOV ? UIO_MAXIOV : length))
		map_delete(MAP(BATCHES), &thread);
}

INLINE bool takes_peers(const struct flow_key *key)
{
	return key->type != SOCK_STREAM && (key->family == AF_INET || key->family == AF_INET6);
}

#endif
