/* Bytes of sockets: their two endpoints, their class, and their rows. */
#ifndef PBMON_SOCKETS_H
#define PBMON_SOCKETS_H

#define AF_UNIX 1
#define IPPROTO_SCTP 132
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000
#define IFF_LOOPBACK 8

/* The endpoints of a connection that was just established, for its first byte to look up. */
struct endpoints {
	u8 local[16];
	u8 remote[16];
	u64 net;
	u16 local_port;
	u16 remote_port;
	u32 family;
};

/* Enough of struct sock_common, in one read, to fill a key. */
struct socket_head {
	HEAD_OF(SOCK_COMMON_SPAN);
} __attribute__((aligned(8)));

/* sk_type and sk_protocol are neighbours; which comes first depends on the kernel. */
struct socket_kind {
	HEAD_OF(SK_KIND_SPAN);
} __attribute__((aligned(8)));

/* Copy an address as two numbers: a head may be in the kernel's memory, where memcpy() cannot read. */
#define COPY_ADDRESS(to, head, offset) \
	do { \
		((u64 *)(to))[0] = HEAD(u64, head, offset); \
		((u64 *)(to))[1] = HEAD(u64, head, (offset) + 8); \
	} while (0)

INLINE void fill_endpoints(u32 family, const struct socket_head *head, u8 *local, u8 *remote)
{
	if (family == AF_INET) {
		*(u32 *)local = HEAD(u32, head, OFFSETOF_SKC_RCV_SADDR);
		*(u32 *)remote = HEAD(u32, head, OFFSETOF_SKC_DADDR);
	} else {
		COPY_ADDRESS(local, head, OFFSETOF_SKC_V6_RCV_SADDR);
		COPY_ADDRESS(remote, head, OFFSETOF_SKC_V6_DADDR);
	}
}

INLINE bool is_loopback(u32 family, const u8 *address)
{
	const u32 *words = (const u32 *)address;

	if (family == AF_INET)
		return address[0] == 127;
	if (is_mapped(address))
		return address[12] == 127;
	return !words[0] && !words[1] && !words[2] && words[3] == __builtin_bswap32(1);
}

INLINE bool is_zero(const u8 *address)
{
	const u64 *words = (const u64 *)address;

	return !words[0] && !words[1];
}

INLINE bool is_same(const u8 *a, const u8 *b)
{
	return *(u64 *)a == *(u64 *)b && *(u64 *)(a + 8) == *(u64 *)(b + 8);
}

/* The route of a connected socket shows whether both addresses, though different, belong to this host. */
INLINE bool routed_to_loopback(void *sk)
{
	void *route = READ(void *, sk, OFFSETOF_SK_DST_CACHE);
	void *device = route ? READ(void *, route, OFFSETOF_DST_DEV) : NULL;

	return device && READ(u32, device, OFFSETOF_NET_DEVICE_FLAGS) & IFF_LOOPBACK;
}

INLINE u32 socket_class(const struct flow_key *key, void *sk)
{
	if (key->family == AF_UNIX)
		return CLASS_UNIX;
	if (key->family != AF_INET && key->family != AF_INET6)
		return CLASS_SOCKET;
	if (is_zero(key->remote))
		return is_loopback(key->family, key->local) ? CLASS_LOOPBACK : CLASS_NET;
	if (is_loopback(key->family, key->remote) || is_same(key->local, key->remote))
		return CLASS_LOOPBACK;
	return routed_to_loopback(sk) ? CLASS_LOOPBACK : CLASS_NET;
}

/* Fill everything except the process, and a peer that only the call names. `inode` is in the key because
 * sockets with SO_REUSEPORT, and those that have one address after the other, have the same ends. */
INLINE void fill_flow(struct flow_key *key, void *sk, const struct socket_head *head, u32 inode)
{
	struct socket_kind kind;

	READ_HEAD(&kind, sk + OFFSETOF_SK_KIND);
	key->protocol = HEAD(u16, &kind, OFFSETOF_SK_PROTOCOL - OFFSETOF_SK_KIND);
	key->type = HEAD(u16, &kind, OFFSETOF_SK_TYPE - OFFSETOF_SK_KIND);
	key->family = HEAD(u16, head, OFFSETOF_SKC_FAMILY);
	key->inode = inode;
	if (key->family == AF_INET || key->family == AF_INET6) {
		fill_endpoints(key->family, head, key->local, key->remote);
		key->local_port = HEAD(u16, head, OFFSETOF_SKC_NUM);
		key->remote_port = host_order(HEAD(u16, head, OFFSETOF_SKC_DPORT));
		/* A connection that both ends have closed gives its port back (inet_put_port()), and
		 * what it received can still be read. Where it was is left. */
		if (!key->local_port && key->protocol == IPPROTO_TCP)
			key->local_port = host_order(READ(u16, sk, OFFSETOF_INET_SPORT));
	}
}

/* Fill the whole key of a process's row for sk, outside the stack. False: sk cannot be read. */
INLINE bool fill_key(struct flow_key *key, const struct process_key *process, void *sk)
{
	struct socket_head head;

	if (READ_HEAD(&head, sk))
		return false;
	__builtin_memset(key, 0, sizeof(*key));
	key->start_ns = process->start_ns;
	key->tgid = process->tgid;
	fill_flow(key, sk, &head, socket_inode(sk));
	return true;
}

#define SOCK_BINDPORT_LOCK 8

/* Whether connect() was called on this end. A port that connect() chose is in a bind bucket with
 * fastreuse -1 (__inet_hash_connect()). A port given to bind() marks the socket, and sk_clone_lock()
 * removes the mark from children of a listener. So a yes is certain, even for connections that are
 * older than the daemon. */
INLINE bool called_connect(void *sk)
{
	void *bucket = READ(void *, sk, OFFSETOF_ICSK_BIND_HASH);

	return BITS(sk, SK_USERLOCKS) & SOCK_BINDPORT_LOCK ||
	       (bucket && READ(s8, bucket, OFFSETOF_BIND_BUCKET_FASTREUSE) < 0);
}

/* Which side opened the connection, as a flag: seen when it was established, or read from the socket;
 * 0: it is older than the daemon, and the socket does not show it. */
INLINE u8 opened_by(const struct flow_key *key, void *sk, u8 state)
{
	struct endpoints endpoints = {
		.net = READ(u64, sk, OFFSETOF_SKC_NET),
		.family = key->family,
		.local_port = key->local_port,
		.remote_port = key->remote_port,
	};
	u8 *seen;

	if (key->type != SOCK_STREAM || (key->family != AF_INET && key->family != AF_INET6))
		return 0;
	copy_address(endpoints.local, key->local);
	copy_address(endpoints.remote, key->remote);
	seen = map_lookup(MAP(OPENINGS), &endpoints);
	if (seen)
		return *seen | FLAG_OPENED;
	if (key->protocol != IPPROTO_TCP)
		return 0;
	return state == TCP_SYN_RECV ? FLAG_ACCEPTED : called_connect(sk) ? FLAG_CONNECTED : 0;
}

INLINE u32 unix_name(void *sk, char *to)
{
	void *address = READ(void *, sk, OFFSETOF_UNIX_ADDR);
	u32 size = address ? READ(u32, address, OFFSETOF_UNIX_ADDRESS_LEN) : 0;

	/* The first two bytes are sun_family. */
	if (size < 3 || read_kernel(to, 108, address + OFFSETOF_UNIX_ADDRESS_NAME + 2))
		return 0;
	return size - 2;
}

INLINE void emit_unix(u32 context, const struct process_key *process, void *sk, u64 id)
{
	struct scratch *scratch = scratch_of(context);
	void *peer = READ(void *, sk, OFFSETOF_UNIX_PEER);

	if (!scratch)
		return;
	struct unix_event *event = (struct unix_event *)scratch->text;
	fill_event(&event->head, EVENT_UNIX, process, id);
	event->local_size = unix_name(sk, event->local);
	event->remote_size = peer ? unix_name(peer, event->remote) : 0;
	event->remote_inode = peer ? socket_inode(peer) : 0;
	emit(event, sizeof(*event), false);
}

INLINE struct flow_slot *first_flow(u32 context, const struct process_key *process, struct flow_key *key,
				    void *sk, u8 state)
{
	u32 slot;

	if (!take_slot(MAP(FLOW_FREE), &slot))
		return NULL;
	struct flow_slot *row = map_lookup(MAP(FLOW_SLOTS), &slot);
	if (!row)
		return NULL;
	row->key = *key;
	row->counter.id = next_id(row->counter.id, slot);
	row->counter.class = socket_class(key, sk);
	row->counter.flags = opened_by(key, sk, state);
	row->counter.netns = READ(u32, READ(void *, sk, OFFSETOF_SKC_NET), OFFSETOF_NET_NS_INUM);
	row->counter.detail = socket_inode(sk);
	wake_after(NOTE_SLOT(flow, slot));
	if (!publish(MAP(FLOW_INDEX), MAP(FLOW_FREE), key, &slot, &row->counter))
		return find(MAP(FLOW_INDEX), MAP(FLOW_SLOTS), key);
	if (key->family == AF_UNIX)
		emit_unix(context, process, sk, row->counter.id);
	if (is_tcp(key)) {
		copy_tcp(&row->counter, sk, READ(u8, sk, OFFSETOF_SKC_STATE));
		own_tcp(&row->counter, sk);
	}
	return row;
}

/* The counter of a connection that had none; NULL: the table is full, and its bytes belong to `class`. */
INLINE struct counter *claim_flow(u32 context, const struct process_key *process,
				  struct deferred *deferred, u32 *class)
{
	struct flow_key *key = &deferred->key;
	struct flow_slot *row = find(MAP(FLOW_INDEX), MAP(FLOW_SLOTS), key);

	if (!row)
		row = first_flow(context, process, key, deferred->object, deferred->state);
	if (row)
		return &row->counter;
	*class = socket_class(key, deferred->object);
	record_loss(LOST_CONNECTION_DETAIL, deferred->calls);
	return NULL;
}

/* Depends on the peer too, because datagrams of one socket may go to many. */
INLINE u32 flow_hint(const struct process_key *process, const struct flow_key *key, void *sk)
{
	const u64 *remote = (const u64 *)key->remote;

	return hint_of(process, (u64)sk + remote[0] + 3 * remote[1] + key->remote_port);
}

/* Count calls of one connection whose key is complete. True: the program "first" must run. */
INLINE bool count_flow(u32 context, const struct process_key *process, const struct flow_key *key,
		       void *sk, enum direction direction, u64 bytes, u64 calls)
{
	struct flow_slot *row = find_by_hint(MAP(FLOW_HINTS), flow_hint(process, key, sk),
					     MAP(FLOW_INDEX), MAP(FLOW_SLOTS), key, sizeof(*key));

	if (!row) {
		struct deferred *deferred = defer(context, process, sk, direction, bytes, calls);

		if (!deferred)
			return false;
		deferred->kind = TARGET_FLOW;
		deferred->state = READ(u8, sk, OFFSETOF_SKC_STATE);
		deferred->key = *key;
		return true;
	}
	count(&row->counter, direction, bytes, calls);
	if (is_tcp(key))
		see_tcp_call(&row->counter, sk, direction);
	return false;
}

/* Count one message of a socket; returns what count_flow() does. */
INLINE bool count_socket(u32 context, const struct process_key *process, void *sk, u32 inode,
			 enum direction direction, u64 bytes)
{
	struct flow_key key = { .start_ns = process->start_ns, .tgid = process->tgid };
	struct socket_head head;

	if (READ_HEAD(&head, sk)) {
		record_loss(LOST_BYTES, bytes);
		return false;
	}
	fill_flow(&key, sk, &head, inode);
	if (direction == TX && takes_peers(&key))
		peer_of_call(&key);
	return count_flow(context, process, &key, sk, direction, bytes, 1);
}

/* inet_sock_set_state(sk, before, TCP_ESTABLISHED): remember which side opened a connection. */
INLINE void remember_opening(void *sk, u32 before)
{
	struct socket_head head;
	struct endpoints endpoints = {};
	u8 side;

	if (before == TCP_SYN_RECV)
		side = FLAG_ACCEPTED;
	else if (before == TCP_SYN_SENT)
		side = FLAG_CONNECTED;
	else if ((before == TCP_CLOSE || before == TCP_LISTEN) &&
		 READ(u16, sk, OFFSETOF_SK_PROTOCOL) == IPPROTO_SCTP)
		/* Both ends of SCTP come this way (net/sctp/socket.c, sm_sideeffect.c), the accepting
		 * one as a clone of the listener since 7.0. What accept() has yet to return has no
		 * struct socket. */
		side = READ(void *, sk, OFFSETOF_SK_SOCKET) ? FLAG_CONNECTED : FLAG_ACCEPTED;
	else
		return;
	if (READ_HEAD(&head, sk))
		return;
	endpoints.family = HEAD(u16, &head, OFFSETOF_SKC_FAMILY);
	endpoints.net = HEAD(u64, &head, OFFSETOF_SKC_NET);
	endpoints.local_port = HEAD(u16, &head, OFFSETOF_SKC_NUM);
	endpoints.remote_port = host_order(HEAD(u16, &head, OFFSETOF_SKC_DPORT));
	fill_endpoints(endpoints.family, &head, endpoints.local, endpoints.remote);
	map_update(MAP(OPENINGS), &endpoints, &side, 0);
}

#endif
