/* The condition of TCP connections: round-trip time, state and retransmissions.
 *
 * The kernel keeps all three in the socket. Round-trip time and state are copied into a row at the calls
 * that move its bytes, which costs two loads, and into the owner's row when anything below happens.
 *
 * Most retransmissions happen in a timer or an interrupt, where the current process can be any, and
 * several processes may share a socket. So each socket has one owner: the row of the process that joined
 * the connection, or finished sending on it, last. At every retransmission and change of state, the
 * kernel's own totals (those of TCP_INFO) are compared with what has been counted, and the difference is
 * added to the owner's row. The kernel holds the socket's lock at these moments, so they never overlap
 * for one socket. Thus each retransmission is counted in one row, and one that a program missed because
 * the kernel skipped it is part of the next difference.
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

/* The owner of a socket, and how many of the socket's retransmissions have been counted. */
struct tcp_owner {
	u64 id; /* of the row */
	u64 bytes;
	u32 segments;
	u32 inode; /* of the socket: another one's struct sock may lie at the same address */
};

INLINE u32 socket_inode(void *sk)
{
#ifdef OFFSETOF_SK_INO
	return READ(u64, sk, OFFSETOF_SK_INO);
#else
	return READ(u64, READ(void *, sk, OFFSETOF_SK_SOCKET),
		    OFFSETOF_SOCKET_ALLOC_INODE + OFFSETOF_INODE_INO);
#endif
}

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
 * adds what it has retransmitted so far. A closed socket had its owner. */
INLINE void own_tcp(struct counter *counter, void *sk)
{
	struct tcp_owner *known = map_lookup(MAP(TCP_OWNERS), &sk);
	u32 inode = socket_inode(sk);

	if (READ(u8, sk, OFFSETOF_SKC_STATE) == TCP_CLOSE)
		return;
	counter->detail = inode;
	if (known && known->inode == inode) {
		struct flow_slot *former = flow_of(known->id);

		if (former)
			former->counter.flags &= ~FLAG_OWNER;
		known->id = counter->id;
	} else {
		struct tcp_owner owner = {
			.id = counter->id,
			.inode = inode,
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

/* A call moved bytes on a TCP socket. Once a connection has been closed, the next one between the same
 * ports has the same row. */
INLINE void see_tcp_call(struct counter *counter, void *sk, enum direction direction)
{
	if (!(counter->flags & FLAG_OWNER) && (direction == TX || counter->tcp_state == TCP_CLOSE))
		own_tcp(counter, sk);
	if ((counter->rx_calls + counter->tx_calls) % TCP_COPY_EVERY == 0)
		copy_tcp(counter, sk, READ(u8, sk, OFFSETOF_SKC_STATE));
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
		__sync_fetch_and_add(&row->counter.retransmitted_segments, segments - owner->segments);
		owner->bytes = bytes;
		owner->segments = segments;
	}
	copy_tcp(&row->counter, sk, state);
	if (state == TCP_CLOSE)
		row->counter.flags &= ~FLAG_OWNER;
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
