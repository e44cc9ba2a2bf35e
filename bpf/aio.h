/* Bytes of io_submit (libaio). They are counted when the program takes a result, in the row that was
 * chosen when the request was submitted.
 *
 * A result names its request by the address of the iocb. By the time the result is seen, the program
 * may have reused that block, and its descriptor may be another file. So the end of io_submit
 * remembers the row of each request. Results come by io_getevents, or programs (QEMU, Seastar) take
 * them from the mapped ring without a call: then the next call on that ring finds its head moved.
 *
 * That is enough for one thread. If several threads use a ring, a result may be handed out before the
 * io_submit that took its request has ended, which then remembers a request that is over; and a call
 * that has not ended yet may have moved the head. So for such rings the iocb, which no program reuses
 * before its result is handed out, takes precedence over what was remembered, and the head is ignored.
 */
#ifndef PBMON_AIO_H
#define PBMON_AIO_H

#if FILES || SOCKETS_AT_EXIT
#define AIO_REQUESTS_TAIL 3 /* indexes of the two programs among their tails */
#define AIO_RESULTS_TAIL 4
#define AIO_RUN 32 /* items that one program handles before it calls itself, at most 33 times */
/* Of the 34 programs that one call can run, this many may look up files in advance. Two more are needed
 * to name the file and the process. */
#define AIO_FINDERS 32
#define NO_ROW (~0U)    /* the table is full */
#define NO_TARGET (~1U) /* the request moves no bytes, or another hook counts them */

/* The beginning of struct iocb in include/uapi/linux/aio_abi.h. */
struct iocb {
	u64 data;
	u32 key;
	u32 rw_flags;
	u16 opcode; /* IOCB_CMD_* */
	s16 priority;
	u32 descriptor;
};

#include "aio_ring.h"

/* Threads, and children of vfork(), share the rings of their address space. */
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

INLINE void set_target(struct aio_request *request, const struct counter *counter, u32 class)
{
	request->slot = counter ? (u32)counter->id : NO_ROW;
	request->id = counter ? counter->id : 0;
	request->class = counter ? counter->class : class;
}

#if SOCKETS_AT_EXIT
INLINE bool find_flow(struct scratch *scratch, void *sk)
{
	struct deferred *deferred = &scratch->deferred[0];
	u32 class = 0;

	if (!fill_key(&deferred->key, &scratch->process, sk))
		return false;
	deferred->object = sk;
	deferred->state = 0;
	deferred->calls = 1;
	scratch->aio.request.is_flow = 1;
	struct counter *counter = claim_flow(CONTEXT_EXIT, &scratch->process, deferred, &class);
	set_target(&scratch->aio.request, counter, class);
	return true;
}
#endif

/* Find the target of the current request by its descriptor. False: its file is gone. */
INLINE bool find_target(struct scratch *scratch)
{
	struct deferred *deferred = &scratch->deferred[0];
	struct aio_request *request = &scratch->aio.request;
	u32 class = 0;

	deferred->object = file_of(scratch->aio.descriptor);
	void *inode = deferred->object ? READ(void *, deferred->object, OFFSETOF_FILE_INODE) : NULL;
	if (!inode)
		return false;
	request->slot = NO_TARGET;
	request->is_flow = 0;
	request->direction = scratch->aio.direction;
	if ((READ(u16, inode, OFFSETOF_INODE_MODE) & S_IFMT) == S_IFSOCK) {
#if SOCKETS_AT_EXIT
		return find_flow(scratch, READ(void *, socket_of(inode), OFFSETOF_SOCKET_SK));
#else
		return true;
#endif
	}
#if FILES
	struct counter *counter = claim_file(CONTEXT_EXIT, &scratch->process, deferred, &class);
	set_target(request, counter, class);
#endif
	return true;
}

INLINE struct counter *row_of_request(const struct aio_request *request)
{
	if (request->is_flow) {
		struct flow_slot *row = flow_of(request->id);

		return row ? &row->counter : NULL;
	}
	struct file_slot *row = file_row_of(request->id);

	return row ? &row->counter : NULL;
}

/* Count the current result. False: its row has been retired, or is about to be, because its file was
 * closed and had been idle for long. */
INLINE bool count_result(const struct scratch *scratch)
{
	struct counter *counter = row_of_request(&scratch->aio.request);

	if (!counter)
		return false;
	/* Like count(), but without a branch for the verifier: rx_bytes, tx_bytes, rx_calls, tx_calls. */
	u64 *values = &counter->rx_bytes + (scratch->aio.request.direction & 1);

	__sync_fetch_and_add(&values[0], scratch->aio.result);
	__sync_fetch_and_add(&values[2], 1);
	return true;
}

INLINE struct aio_found *found_of(struct aio_work *aio)
{
	return &aio->found[aio->descriptor & (AIO_FOUND - 1)];
}

INLINE bool may_find(const struct aio_work *aio)
{
	return aio->programs < AIO_FINDERS;
}

/* Read the target of the current request from its iocb. Most often the same file has been looked up in
 * the same call; otherwise the target is not known yet. */
INLINE void read_request(struct aio_work *aio)
{
	struct iocb iocb;

	aio->unknown = 1;
	aio->descriptor = ~0U; /* none, should the iocb be gone */
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
			aio->unknown = !aio->remembered || may_find(aio);
			return;
		}
		aio->request = found->request;
		aio->request.direction = direction;
	}
	aio->unknown = 0;
}

/* Handle a result that io_getevents handed out. */
INLINE void take_result(struct aio_work *aio, u64 where)
{
	struct io_event event;

	if (read_user(&event, sizeof(event), (void *)where)) {
		aio->lost++;
		return;
	}
	aio->key.iocb = event.iocb;
	aio->remembered = take_remembered(aio);
	if (!aio->remembered && !map_delete(MAP(AIO_TAKEN), &aio->key))
		return;
	aio->result = event.result;
	if (event.result > 0 && (aio->shared || !aio->remembered))
		read_request(aio);
}

/* Remember the current request. If results are taken without a call, one that is still remembered
 * under this key was overwritten unseen when the ring wrapped around. */
INLINE void remember_iocb(struct aio_work *aio)
{
	if (aio->taken_unseen)
		aio->lost += map_lookup(MAP(AIO_REQUESTS), &aio->key) != NULL;
	map_update(MAP(AIO_REQUESTS), &aio->key, &aio->request, 0);
}

/* Handle a request that io_submit took. */
INLINE void take_request(struct aio_work *aio, u64 where)
{
	if (read_user(&aio->key.iocb, sizeof(aio->key.iocb), (void *)where))
		return;
	map_delete(MAP(AIO_TAKEN), &aio->key);
	read_request(aio);
	if (!aio->unknown)
		remember_iocb(aio);
	else if (!may_find(aio))
		aio->unknown = 0; /* it is not remembered: its result will look up the file */
}

/* Handle one item: first the results taken without a call, then the requests of io_submit or the
 * results of io_getevents. False: find_item() must do the rest. */
INLINE bool take_item(struct scratch *scratch, struct call *ctx, bool submits, u32 item)
{
	struct aio_work *aio = &scratch->aio;

	aio->result = aio->unknown = aio->remembered = 0;
	if (item < aio->passed)
		take_passed(aio, item);
	else if (submits)
		take_request(aio, CALL_ARGUMENT(ctx, 3) + sizeof(u64) * (item - aio->passed));
	else
		take_result(aio, CALL_ARGUMENT(ctx, 4) + IO_EVENT_SIZE * (item - aio->passed));
	FORGET_PATH();
	return !aio->unknown &&
	       (aio->result <= 0 || aio->request.slot == NO_TARGET || count_result(scratch));
}

INLINE void find_item(struct scratch *scratch, bool submits)
{
	struct aio_work *aio = &scratch->aio;

	if (aio->unknown && find_target(scratch)) {
		struct aio_found *found = found_of(aio);
		found->call = aio->call;
		found->descriptor = aio->descriptor;
		found->request = aio->request;
	} else if (aio->unknown && !aio->remembered) {
		aio->lost += aio->result > 0;
		return;
	}
	FORGET_PATH();
	if (submits && aio->unknown)
		remember_iocb(aio);
	else if (aio->request.slot != NO_TARGET && !count_result(scratch))
		count_overflow(&scratch->process, aio->request.class, aio->request.direction, aio->result,
			       1);
}

INLINE void begin_aio(struct scratch *scratch, u64 ring, u32 handed_out)
{
	identify_current(&scratch->process);
	scratch->name_count = scratch->names_sent = scratch->walking = 0;
	scratch->aio.key.memory = address_space();
	scratch->aio.key.ring = ring;
	scratch->aio.key.iocb = 0;
	scratch->aio.lost = scratch->aio.programs = 0;
	scratch->aio.call++;
	look_at_ring(&scratch->aio, handed_out);
	announce_process(CONTEXT_EXIT, &scratch->process);
}

/* io_setup made a new ring, perhaps at the address of an old one. */
INLINE void forget_ring(struct call *ctx)
{
	struct aio_key key = { .memory = address_space() };

	if (!ctx->result && !read_user(&key.ring, sizeof(key.ring), (void *)CALL_ARGUMENT(ctx, 2)))
		map_delete(MAP(AIO_RINGS), &key);
}

/* Handle io_submit, which returns a number of requests, or io_getevents, which returns a number of
 * results. Results beyond the kernel's limit of tail calls are lost, and counted as lost; requests
 * beyond it are not remembered. Each call has a program of its own: the verifier takes half as long
 * for two of them. */
INLINE void count_aio(struct call *ctx, bool submits, u32 tail)
{
	struct scratch *scratch = ctx->result > 0 ? scratch_of(CONTEXT_EXIT) : NULL;
	s64 result = ctx->result;
	bool done = true;

	if (!scratch) {
		if (result > 0 && !submits)
			record_loss(LOST_COMPLETIONS, result);
		return;
	}
	if (!scratch->message)
		begin_aio(scratch, CALL_ARGUMENT(ctx, 1), submits ? 0 : result);
	scratch->aio.programs++;
	u32 end = scratch->aio.passed + result;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AIO_RUN && scratch->message < end && done; i++)
		done = take_item(scratch, ctx, submits, scratch->message++);
	if (!done)
		find_item(scratch, submits);
	if (scratch->message < end) {
		scratch->resume = tail;
		scratch->rest = submits ? 0 : end - scratch->message;
		tail_call(ctx, MAP(EXIT_TAILS), scratch->name_count ? WALKER : tail);
		scratch->aio.lost += scratch->rest;
	}
	if (scratch->aio.lost)
		record_loss(LOST_COMPLETIONS, scratch->aio.lost);
	scratch->message = scratch->resume = 0;
	if (scratch->name_count)
		tail_call(ctx, MAP(EXIT_TAILS), WALKER);
	release_scratch(scratch);
}
#endif

#endif
