/* Processes: their identity, first byte, exec and exit. */
#ifndef PBMON_PROCESSES_H
#define PBMON_PROCESSES_H

INLINE void identify(void *task, struct process_key *process)
{
	void *leader = FIELD(void *, task, OFFSETOF_TASK_GROUP_LEADER);

	process->tgid = FIELD(u32, task, OFFSETOF_TASK_TGID);
	process->start_ns = FIELD(u64, leader, OFFSETOF_TASK_START_BOOTTIME);
	process->zero = 0;
}

INLINE void identify_current(struct process_key *process)
{
	identify(current_task(), process);
}

/* For a task other than the current one, whose fields the verifier does not let us load directly. */
INLINE void identify_other(void *task, struct process_key *process)
{
	void *leader = READ(void *, task, OFFSETOF_TASK_GROUP_LEADER);

	process->tgid = READ(u32, task, OFFSETOF_TASK_TGID);
	process->start_ns = READ(u64, leader, OFFSETOF_TASK_START_BOOTTIME);
	process->zero = 0;
}

INLINE struct place executable(void)
{
	void *mm = FIELD(void *, current_task(), OFFSETOF_TASK_MM);
	void *file = mm ? READ(void *, mm, OFFSETOF_MM_EXE_FILE) : NULL;
	struct place nowhere = {};

	return file ? place_at(file + OFFSETOF_FILE_PATH) : nowhere;
}

INLINE void request_process_name(u32 context, const struct process_key *process)
{
	struct scratch *scratch = scratch_of(context);

	/* A kernel worker that completes another process's io_uring request cannot describe it. */
	if (FIELD(u32, current_task(), OFFSETOF_TASK_TGID) != process->tgid) {
		map_delete(MAP(PROCESSES), process);
		return;
	}
	if (scratch)
		scratch->process = *process;
	struct name_request of_process = { .kind = EVENT_PROCESS, .place = executable() };

	request_name(context, &of_process);
}

/* A process has a new row: tell user space who it is, unless that has been done. */
INLINE void announce_process(u32 context, const struct process_key *process)
{
	u8 announced = 1;

	/* If the map is full, announce the process again at each new row. */
	if (map_update(MAP(PROCESSES), process, &announced, BPF_NOEXIST) != -EEXIST)
		request_process_name(context, process);
}

/* Tell user space who a process is now, if it has been told before. */
INLINE bool announce_again(u32 context)
{
	struct process_key process;

	identify_current(&process);
	if (!map_lookup(MAP(PROCESSES), &process))
		return false;
	request_process_name(context, &process);
	return true;
}

/* exec: the name, the command line and perhaps the user have changed. */
INLINE void count_exec(void)
{
	struct process_key process;
	u8 announced = 1;

	identify_current(&process);
	map_update(MAP(PROCESSES), &process, &announced, 0);
	request_process_name(CONTEXT_RAW, &process);
}

struct disk_bytes {
	u64 read_bytes;
	u64 write_bytes;
};

/* A process's disk bytes are the sum over its threads, each added as it exits: signal->ioac would
 * include every child that was waited for. */
INLINE void sum_disk_bytes(const struct process_key *process, void *task, void *signal,
			   struct disk_bytes *sum)
{
#ifdef OFFSETOF_TASK_IOAC
	void *accounting = task + OFFSETOF_TASK_IOAC;
	struct disk_bytes nothing = {}, *total;

	sum->read_bytes = READ(u64, accounting, OFFSETOF_IOAC_READ_BYTES);
	sum->write_bytes = READ(u64, accounting, OFFSETOF_IOAC_WRITE_BYTES);
	/* A process with one thread needs no sum. */
	if (READ(u32, signal, OFFSETOF_SIGNAL_NR_THREADS) > 1 && (sum->read_bytes || sum->write_bytes))
		map_update(MAP(EXITS), process, &nothing, BPF_NOEXIST);
	total = map_lookup(MAP(EXITS), process);
	if (total) {
		__sync_fetch_and_add(&total->read_bytes, sum->read_bytes);
		__sync_fetch_and_add(&total->write_bytes, sum->write_bytes);
		*sum = *total;
	}
#endif
}

/* The exit of a thread. True: the process must be described too. */
INLINE bool count_exit(void)
{
	void *task = current_task();
	void *signal = FIELD(void *, task, OFFSETOF_TASK_SIGNAL);
	struct process_key process;
	struct disk_bytes total = {};
	struct exit_event event = {};
	bool unknown;

	identify_current(&process);
	sum_disk_bytes(&process, task, signal, &total);
	/* Read after the sum: when threads exit at the same time, each may see itself as the last, and
	 * the last one to add reports the whole sum. */
	if (FIELD(u32, signal, OFFSETOF_SIGNAL_LIVE))
		return false;
	unknown = map_delete(MAP(PROCESSES), &process);
	if (unknown && !total.read_bytes && !total.write_bytes)
		return false; /* it never moved a byte: user space need not know about it */
	fill_event(&event.head, EVENT_EXIT, &process, 0);
	event.disk_read_bytes = total.read_bytes;
	event.disk_write_bytes = total.write_bytes;
	emit(&event, sizeof(event), false);
	/* Its pages moved bytes, but none of its calls did: user space does not know its name. */
	if (unknown)
		request_process_name(CONTEXT_RAW, &process);
	return unknown;
}

#endif
