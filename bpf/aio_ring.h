/* The ring that a context of io_submit has in the memory of its program, and the results that a program
 * takes from it without a call.
 */
#ifndef PBMON_AIO_RING_H
#define PBMON_AIO_RING_H

#define AIO_PASSED 1024     /* a program may write anything into its ring: no more is looked at */
#define AIO_RING_MAGIC 0xa10a10a1
#define AIO_RING_HEADER 32  /* sizeof(struct aio_ring) */
#define IO_EVENT_SIZE 32
#define MANY (~0U)         /* threads */

/* include/uapi/linux/aio_abi.h: its beginning, as far as it is of use here. */
struct io_event {
	u64 data;
	u64 iocb;           /* its address in the program */
	s64 result;
};

/* fs/aio.c: the beginning of the ring, which the program has mapped. */
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
	u32 unattended;     /* results have been taken without a call */
	u32 thread;         /* that made all calls so far, or MANY */
};

/* Whoever deletes a request's note counts its result, once. False: it had none, because it is older
 * than the daemon, or another thread was first, or is still in io_submit. */
INLINE bool take_note(struct aio_work *aio)
{
	struct aio_request *noted = map_lookup(MAP(AIO_REQUESTS), &aio->key);

	if (!noted)
		return false;
	aio->request = *noted;
	return !map_delete(MAP(AIO_REQUESTS), &aio->key);
}

/* A result that the head of the ring has passed: taken without a call, or by a call of another
 * thread that has not come to its end. That one must find it marked. */
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
	if (take_note(aio))
		aio->result = event.result;
	else
		map_delete(MAP(AIO_TAKEN), &aio->key);
}

/* How far the head of the ring has moved without us, while one thread makes all calls. */
INLINE void look_at_ring(struct aio_work *aio, u32 handed_out)
{
	struct aio_seen *known = map_lookup(MAP(AIO_RINGS), &aio->key), seen = {};
	struct aio_ring ring;

	seen.thread = current_pid_tgid();
	aio->passed = aio->unattended = 0;
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
		aio->unattended = known->unattended || aio->passed;
		if (aio->passed > AIO_PASSED)
			aio->passed = AIO_PASSED;
	}
	seen.head = ring.head;
	seen.unattended = aio->unattended;
	map_update(MAP(AIO_RINGS), &aio->key, &seen, 0);
}

#endif
