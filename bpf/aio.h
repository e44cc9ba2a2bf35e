/* Bytes of io_submit (libaio): counted when the program takes a result, in the row that its request
 * was given when it was submitted.
 *
 * A result names its request by the address of the iocb. That block may have been used again by the
 * time the result is seen, and its descriptor may be another file's, so io_submit's way out notes
 * each request's row. Results come by io_getevents, or are taken from the mapped ring without a call
 * (QEMU, Seastar): the next call on that ring finds its head moved.
 *
 * That holds for one thread. Where several use a ring, a result may be handed out before the io_submit
 * that took its request has come to its end, which leaves a note behind; and the head may have been
 * moved by a call that has not. So there the iocb, which nobody uses again before its result is handed
 * out, comes before the note, and nobody looks at the head.
 */
#ifndef PBMON_AIO_H
#define PBMON_AIO_H

#if FILES || SOCKETS_AT_EXIT
#define AIO_REQUESTS_TAIL 3 /* indexes of the two programs among their tails */
#define AIO_RESULTS_TAIL 4
#define AIO_RUN 32          /* items that one takes before it calls itself again, 33 times at most */
#define AIO_FINDERS 32      /* programs of a call, of 34 at most, that look for a file where they need
			     * not: two more name it, and the process */
#define NO_ROW (~0U)       /* the table is full */
#define NO_TARGET (~1U)    /* a request that moves no bytes, or whose bytes others count */

/* include/uapi/linux/aio_abi.h: its beginning, as far as it is of use here. */
struct iocb {
	u64 data;
	u32 key;
	u32 rw_flags;
	u16 opcode;         /* IOCB_CMD_* */
	s16 priority;
	u32 descriptor;
};

#include "aio_ring.h"

/* Threads and children of vfork() share the rings of their memory. */
INLINE u64 address_space(void)
{
	return (u64)FIELD(void *, current_task(), OFFSETOF_TASK_MM);
}

INLINE int aio_direction(u16 opcode)
{
	switch (opcode) {
	case 0: /* IOCB_CMD_PREAD */
	case 7: /* IOCB_CMD_PREADV */
		return RX;
	case 1: /* IOCB_CMD_PWRITE */
	case 8: /* IOCB_CMD_PWRITEV */
		return TX;
	}
	return -1;
}

INLINE void place_request(struct aio_request *request, const struct counter *counter, u32 class)
{
	request->slot = counter ? (u32)counter->id : NO_ROW;
	request->id = counter ? counter->id : 0;
	request->class = counter ? counter->class : class;
}

#if SOCKETS_AT_EXIT
INLINE bool find_flow(struct notes *notes, void *sk)
{
	struct pending *pending = &notes->pending[0];
	u32 class = 0;

	if (!fill_key(&pending->key, &notes->process, sk))
		return false;
	pending->object = sk;
	pending->state = 0;
	pending->calls = 1;
	notes->aio.request.is_flow = 1;
	struct counter *counter = claim_flow(CONTEXT_EXIT, &notes->process, pending, &class);
	place_request(&notes->aio.request, counter, class);
	return true;
}
#endif

/* Where the bytes of the request at hand go, as its iocb said. False: its file is gone. */
INLINE bool find_target(struct notes *notes)
{
	struct pending *pending = &notes->pending[0];
	struct aio_request *request = &notes->aio.request;
	u32 class = 0;

	pending->object = file_of(notes->aio.descriptor);
	void *inode = pending->object ? READ(void *, pending->object, OFFSETOF_FILE_INODE) : NULL;
	if (!inode)
		return false;
	request->slot = NO_TARGET;
	request->is_flow = 0;
	request->direction = notes->aio.direction;
	if ((READ(u16, inode, OFFSETOF_INODE_MODE) & S_IFMT) == S_IFSOCK) {
#if SOCKETS_AT_EXIT
		return find_flow(notes, READ(void *, socket_of(inode), OFFSETOF_SOCKET_SK));
#else
		return true;
#endif
	}
#if FILES
	struct counter *counter = claim_file(CONTEXT_EXIT, &notes->process, pending, &class);
	place_request(request, counter, class);
#endif
	return true;
}

INLINE bool count_in_row(struct counter *counter, const struct aio_request *request, u64 bytes)
{
	/* As count() does, in one way for the verifier to follow: rx_bytes, tx_bytes, rx_calls, ... */
	u64 *values = &counter->rx_bytes + (request->direction & 1);

	if (counter->id != request->id || !counter->first_ns)
		return false;
	__sync_fetch_and_add(&values[0], bytes);
	__sync_fetch_and_add(&values[2], 1);
	return true;
}

/* False: the row has left, because its file was closed and quiet for long. */
INLINE bool count_result(const struct notes *notes)
{
	const struct aio_request *request = &notes->aio.request;
	u64 bytes = notes->aio.result;
	u32 slot = request->slot;

	if (request->is_flow) {
		struct flow_slot *row = map_lookup(MAP(FLOW_SLOTS), &slot);

		return row && count_in_row(&row->counter, request, bytes);
	}
	struct file_slot *row = map_lookup(MAP(FILE_SLOTS), &slot);

	return row && count_in_row(&row->counter, request, bytes);
}

INLINE struct aio_found *found_of(struct aio_work *aio)
{
	return &aio->found[aio->descriptor & (AIO_FOUND - 1)];
}

INLINE bool may_find(const struct aio_work *aio)
{
	return aio->programs < AIO_FINDERS;
}

/* Where the request at hand belongs, as its iocb says. Mostly, the same file has been looked for in
 * the same call; else it is not known yet. */
INLINE void read_request(struct aio_work *aio)
{
	struct iocb iocb;

	aio->unknown = 1;
	aio->descriptor = ~0U; /* none, if the iocb is gone */
	if (read_user(&iocb, sizeof(iocb), (void *)aio->key.iocb))
		return;
	int direction = aio_direction(iocb.opcode);
	aio->descriptor = iocb.descriptor;
	aio->direction = direction;
	if (direction < 0) {
		aio->request.slot = NO_TARGET;
	} else {
		struct aio_found *found = found_of(aio);

		if (found->call != aio->call || found->descriptor != iocb.descriptor) {
			aio->unknown = !aio->noted || may_find(aio);
			return;
		}
		aio->request = found->request;
		aio->request.direction = direction;
	}
	aio->unknown = 0;
}

/* A result that io_getevents handed out. */
INLINE void take_result(struct aio_work *aio, u64 where)
{
	struct io_event event;

	if (read_user(&event, sizeof(event), (void *)where)) {
		aio->lost++;
		return;
	}
	aio->key.iocb = event.iocb;
	aio->noted = take_note(aio);
	if (!aio->noted && !map_delete(MAP(AIO_TAKEN), &aio->key))
		return;
	aio->result = event.result;
	if (event.result > 0 && (aio->shared || !aio->noted))
		read_request(aio);
}

/* Where results are taken without a call, a note that is still there is of one that nobody saw,
 * because the ring went round since. */
INLINE void note_request(struct aio_work *aio)
{
	if (aio->unattended)
		aio->lost += map_lookup(MAP(AIO_REQUESTS), &aio->key) != NULL;
	map_update(MAP(AIO_REQUESTS), &aio->key, &aio->request, 0);
}

/* A request that io_submit took. */
INLINE void take_request(struct aio_work *aio, u64 where)
{
	if (read_user(&aio->key.iocb, sizeof(aio->key.iocb), (void *)where))
		return;
	map_delete(MAP(AIO_TAKEN), &aio->key);
	read_request(aio);
	if (!aio->unknown)
		note_request(aio);
	else if (!may_find(aio))
		aio->unknown = 0; /* without a note, its result looks for the file */
}

/* One item: a passed result first, then the requests of io_submit or the results of io_getevents.
 * False: find_item() has to do the rest. */
INLINE bool take_item(struct notes *notes, struct call *ctx, bool submits, u32 item)
{
	struct aio_work *aio = &notes->aio;

	aio->result = aio->unknown = aio->noted = 0;
	if (item < aio->passed)
		take_passed(aio, item);
	else if (submits)
		take_request(aio, CALL_ARGUMENT(ctx, 3) + sizeof(u64) * (item - aio->passed));
	else
		take_result(aio, CALL_ARGUMENT(ctx, 4) + IO_EVENT_SIZE * (item - aio->passed));
	FORGET_PATH();
	return !aio->unknown && (aio->result <= 0 || aio->request.slot == NO_TARGET ||
				 count_result(notes));
}

INLINE void find_item(struct notes *notes, bool submits)
{
	struct aio_work *aio = &notes->aio;

	if (aio->unknown && find_target(notes)) {
		struct aio_found *found = found_of(aio);
		found->call = aio->call;
		found->descriptor = aio->descriptor;
		found->request = aio->request;
	} else if (aio->unknown && !aio->noted) {
		aio->lost += aio->result > 0;
		return;
	}
	FORGET_PATH();
	if (submits && aio->unknown)
		note_request(aio);
	else if (aio->request.slot != NO_TARGET && !count_result(notes))
		count_overflow(&notes->process, aio->request.class, aio->request.direction,
			       aio->result, 1);
}

INLINE void begin_aio(struct notes *notes, u64 ring, u32 handed_out)
{
	identify_current(&notes->process);
	notes->queued = notes->done = notes->walking = 0;
	notes->aio.key.memory = address_space();
	notes->aio.key.ring = ring;
	notes->aio.key.iocb = 0;
	notes->aio.lost = notes->aio.programs = 0;
	notes->aio.call++;
	look_at_ring(&notes->aio, handed_out);
	meet_process(CONTEXT_EXIT, &notes->process);
}

/* io_setup: a new ring, perhaps at the address of an old one. */
INLINE void forget_ring(struct call *ctx)
{
	struct aio_key key = { .memory = address_space() };

	if (!ctx->result && !read_user(&key.ring, sizeof(key.ring), (void *)CALL_ARGUMENT(ctx, 2)))
		map_delete(MAP(AIO_RINGS), &key);
}

/* The result counts requests, or results. What lies beyond the kernel's limit of tail calls is lost,
 * and counted so; a request only lacks its note then. Each way is a program of its own: the verifier
 * takes half as long for two of them. */
INLINE void count_aio(struct call *ctx, bool submits, u32 tail)
{
	struct notes *notes = ctx->result > 0 ? notes_of(CONTEXT_EXIT) : NULL;
	s64 result = ctx->result;
	bool done = true;

	if (!notes) {
		if (result > 0 && !submits)
			record_loss(LOST_COMPLETIONS, result);
		return;
	}
	if (!notes->message)
		begin_aio(notes, CALL_ARGUMENT(ctx, 1), submits ? 0 : result);
	notes->aio.programs++;
	u32 end = notes->aio.passed + result;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AIO_RUN && notes->message < end && done; i++)
		done = take_item(notes, ctx, submits, notes->message++);
	if (!done)
		find_item(notes, submits);
	if (notes->message < end) {
		notes->resume = tail;
		notes->rest = submits ? 0 : end - notes->message;
		tail_call(ctx, MAP(EXIT_TAILS), notes->queued ? WALKER : tail);
		notes->aio.lost += notes->rest;
	}
	if (notes->aio.lost)
		record_loss(LOST_COMPLETIONS, notes->aio.lost);
	notes->message = notes->resume = 0;
	if (notes->queued)
		tail_call(ctx, MAP(EXIT_TAILS), WALKER);
	release_notes(notes);
}
#endif

#endif
