/* Bytes of message queues. A POSIX queue is a file of the file system mqueue; a System V queue is none, so
 * its bytes count for process and class alone. */
#ifndef PBMON_QUEUES_H
#define PBMON_QUEUES_H

#define MSG_COPY 040000 /* of msgrcv(): the message stays in the queue */

/* The row of the current process for bytes without a file; NULL: it has none yet. */
INLINE struct overflow_slot *fileless_row(const struct process_key *process)
{
	struct overflow_key key = {
		.start_ns = process->start_ns,
		.tgid = process->tgid,
		.class = CLASS_DEVICE,
	};

	return find(MAP(OVERFLOW_INDEX), MAP(OVERFLOW_SLOTS), &key);
}

/* One message of a System V queue. True: the program "first" must run, which names the process. */
INLINE bool count_queue(const struct process_key *process, enum direction direction, u64 bytes)
{
	struct overflow_slot *row = fileless_row(process);
	struct deferred *deferred;

	if (row) {
		count(&row->counter, direction, bytes, 1);
		return false;
	}
	deferred = defer(CONTEXT_EXIT, process, NULL, direction, bytes, 1);
	if (!deferred)
		return false;
	deferred->kind = TARGET_QUEUE;
	return true;
}

#endif
