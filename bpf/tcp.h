/* How TCP connections fare: round-trip time, state and retransmissions.
 *
 * The kernel keeps all three for the socket. Round-trip time and state are copied into a row at the
 * calls that move its bytes, which costs two loads, and whenever the state changes.
 *
 * Retransmissions mostly happen in a timer or an interrupt, where the current process is anybody's,
 * and several processes may share a socket. So each socket has one owner: the row of the process that
 * joined the connection, or finished sending on it, last. The kernel's own totals (what TCP_INFO tells) are compared
 * with what has been counted before, and the difference goes to the owner's row. That happens at every
 * retransmission and change of state, which the kernel runs one at a time for each socket; so each
 * retransmission is in one row, and one that a skipped program did not see is in the next difference.
 */
#ifndef PBMON_TCP_H
#define PBMON_TCP_H

#define IPPROTO_TCP 6
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_LISTEN 10

/* One call in so many copies round-trip time and state. */
#if CAST_LOADS
#define TCP_COPY_EVERY 1
#else
#define TCP_COPY_EVERY 16
#endif

/* The owner of a socket, and what was counted of the socket's retransmissions. */
struct tcp_owner {
	u64 id;             /* of the row */
	u64 bytes;
	u32 segments;
	u32 inode;          /* of the socket: another one's struct sock may lie at the same address */
};

INLINE bool is_tcp(const struct flow_key *key)
{
	return key->protocol == IPPROTO_TCP && (key->family == AF_INET || key->family == AF_INET6);
}

INLINE void copy_tcp(struct counter *counter, void *sk, u8 state)
{
	counter->rtt_us = READ(u32, sk, OFFSETOF_TCP_SRTT_US) >> 3;
	counter->tcp_state = state;
}

/* Make a row the owner of its socket. A connection that was seen when it opened, and has no owner yet,
 * brings what it has retransmitted so far. */
INLINE void own_tcp(struct counter *counter, void *sk)
{
	struct tcp_owner *known = map_lookup(MAP(TCP_OWNERS), &sk);

	if (known && known->inode == counter->detail) {
		struct flow_slot *former = flow_of(known->id);

		if (former)
			former->counter.flags &= ~FLAG_OWNER;
		known->id = counter->id;
	} else {
		struct tcp_owner owner = {
			.id = counter->id, .inode = counter->detail,
			.bytes = READ(u64, sk, OFFSETOF_TCP_BYTES_RETRANS),
			.segments = READ(u32, sk, OFFSETOF_TCP_TOTAL_RETRANS),
		};

		if (map_update(MAP(TCP_OWNERS), &sk, &owner, 0)) {
			record_loss(LOST_CONNECTION_DETAIL, 1);
		} else if (counter->flags & FLAG_OPENED) {
			__sync_fetch_and_add(&counter->retransmitted_bytes, owner.bytes);
			__sync_fetch_and_add(&counter->retransmitted_segments, owner.segments);
		}
	}
	counter->flags |= FLAG_OWNER;
}

/* A call moved bytes on a TCP socket. */
INLINE void see_tcp_call(struct counter *counter, void *sk, enum direction direction)
{
	if ((counter->rx_calls + counter->tx_calls) % TCP_COPY_EVERY == 0)
		copy_tcp(counter, sk, READ(u8, sk, OFFSETOF_SKC_STATE));
	if (direction == TX && !(counter->flags & FLAG_OWNER))
		own_tcp(counter, sk);
}

/* Bring the row of a TCP socket's owner up to date. */
INLINE void update_owner(struct tcp_owner *owner, void *sk, u8 state)
{
	struct flow_slot *row = flow_of(owner->id);

	if (!row)
		return;
	u64 bytes = READ(u64, sk, OFFSETOF_TCP_BYTES_RETRANS);
	u32 segments = READ(u32, sk, OFFSETOF_TCP_TOTAL_RETRANS);
	if (bytes >= owner->bytes && segments > owner->segments) {
		__sync_fetch_and_add(&row->counter.retransmitted_bytes, bytes - owner->bytes);
		__sync_fetch_and_add(&row->counter.retransmitted_segments,
				     segments - owner->segments);
		owner->bytes = bytes;
		owner->segments = segments;
	}
	copy_tcp(&row->counter, sk, state);
}

/* tcp_retransmit_skb(sk, skb, ...): the totals have grown already, also if sending failed. */
INLINE void see_retransmission(void *sk)
{
	struct tcp_owner *owner = map_lookup(MAP(TCP_OWNERS), &sk);

	if (owner)
		update_owner(owner, sk, READ(u8, sk, OFFSETOF_SKC_STATE));
}

/* inet_sock_set_state(sk, before, after): a closed socket sends nothing more. */
INLINE void see_tcp_state(void *sk, u32 after)
{
	struct tcp_owner *owner = map_lookup(MAP(TCP_OWNERS), &sk);

	if (owner)
		update_owner(owner, sk, after);
	if (owner && after == TCP_CLOSE)
		map_delete(MAP(TCP_OWNERS), &sk);
}

#endif
