/* The ring of an aio context, which is mapped into the program, and results that the program takes from
 * it without a call.
 */
#ifndef PBMON_AIO_RING_H
#define PBMON_AIO_RING_H

#define AIO_PASSED 1024 /* the most results to look at: a program may write anything into its ring */
#define AIO_RING_MAGIC 0xa10a10a1
#define AIO_RING_HEADER 32 /* sizeof(struct aio_ring) */
#define IO_EVENT_SIZE 32
#define MANY (~0U) /* threads */

/* The beginning of struct io_event in include/uapi/linux/aio_abi.h. */
struct io_event {
	u64 data;
	u64 iocb; /* its address in the program */
	s64 result;
};

/* The beginning of struct aio_ring in fs/aio.c. */
struct aio_ring {
	u32 id;
	u32 slots;
	u32 head;
	u32 tail;
	u32 magic;
};

/* What was seen of a ring at the last call. */
struct aio_seen {
	u32 head;
	u32 taken_unseen; /* results have been taken without a call */
	u32 thread;       /* the one that made all calls so far, or MANY */
};

/* Take the current request out of the map. Only the thread that deletes it counts its result. False: it
 * is not there, because it is older than the daemon, was taken by another thread, or is still in
 * io_submit. */
INLINE bool take_remembered(struct aio_work *aio)
{
	struct aio_request *remembered = map_lookup(MAP(AIO_REQUESTS), &aio->key);

	if (!remembered)
		return false;
	aio->request = *remembered;
	return !map_delete(MAP(AIO_REQUESTS), &aio->key);
}

/* Handle a result that the head of the ring has passed. It was taken without a call, or by a call of
 * another thread that has not ended yet, which must then find it marked as taken. */
INLINE void take_passed(struct aio_work *aio, u32 item)
{
	u64 where = aio->key.ring + AIO_RING_HEADER +
		    IO_EVENT_SIZE * (u64)((aio->from + item) % aio->slots);
	struct io_event event;
	u8 taken = 1;

	if (read_user(&event, sizeof(event), (void *)where))
		return;
	aio->key.iocb = event.iocb;
	if (map_update(MAP(AIO_TAKEN), &aio->key, &taken, BPF_NOEXIST))
		return;
	if (take_remembered(aio))
		aio->result = event.result;
	else if (map_delete(MAP(AIO_TAKEN), &aio->key))
		aio->lost++; /* that thread found the mark, and has left the result to this one */
}

/* See how far the head has moved without a call, if one thread makes all calls on the ring. */
INLINE void look_at_ring(struct aio_work *aio, u32 handed_out)
{
	struct aio_seen *known = map_lookup(MAP(AIO_RINGS), &aio->key), seen = {};
	struct aio_ring ring;

	seen.thread = current_pid_tgid();
	aio->passed = aio->taken_unseen = 0;
	aio->shared = known && known->thread != seen.thread;
	if (aio->shared) {
		known->thread = MANY;
		return;
	}
	if (read_user(&ring, sizeof(ring), (void *)aio->key.ring) || ring.magic != AIO_RING_MAGIC)
		return;
	if (!ring.slots || ring.head >= ring.slots || handed_out >= ring.slots)
		return;
	if (known && known->head < ring.slots) {
		u64 moved = ring.head + 2 * (u64)ring.slots - known->head - handed_out;

		aio->slots = ring.slots;
		aio->from = known->head;
		aio->passed = moved % ring.slots;
		aio->taken_unseen = known->taken_unseen || aio->passed;
		if (aio->passed > AIO_PASSED)
			aio->passed = AIO_PASSED;
	}
	if (known) { /* in place: another thread may be writing MANY */
		known->head = ring.head;
		known->taken_unseen = aio->taken_unseen;
		return;
	}
	seen.head = ring.head;
	/* Two threads may make the first two calls at once. */
	if (map_update(MAP(AIO_RINGS), &aio->key, &seen, BPF_NOEXIST)) {
		aio->shared = 1;
		known = map_lookup(MAP(AIO_RINGS), &aio->key);
		if (known)
			known->thread = MANY;
	}
}

#endif
