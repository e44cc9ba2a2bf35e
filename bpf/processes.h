/* Processes: their identity, their first byte, exec and exit. */
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

/* For a task that is not the current one, whose fields the verifier cannot vouch for. */
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

INLINE void note_process(u32 context, const struct process_key *process)
{
	struct notes *notes = notes_of(context);

	/* A kernel worker that ends another's io_uring request cannot tell who that is. */
	if (FIELD(u32, current_task(), OFFSETOF_TASK_TGID) != process->tgid) {
		map_delete(MAP(PROCESSES), process);
		return;
	}
	if (notes)
		notes->process = *process;
	struct note of_process = { .kind = EVENT_PROCESS, .place = executable() };

	note(context, &of_process);
}

/* Something new of this process: tell user space who it is, unless that was done. */
INLINE void meet_process(u32 context, const struct process_key *process)
{
	u8 met = 1;

	/* With that map full, too, the process has to be told: more than once then. */
	if (map_update(MAP(PROCESSES), process, &met, BPF_NOEXIST) != -EEXIST)
		note_process(context, process);
}

/* A new program: name, command line and perhaps the user changed. */
INLINE void count_exec(void)
{
	struct process_key process;
	u8 met = 1;

	identify_current(&process);
	map_update(MAP(PROCESSES), &process, &met, 0);
	note_process(CONTEXT_RAW, &process);
}

struct disk_bytes {
	u64 read_bytes;
	u64 write_bytes;
};

/* A process's disk bytes are those of its threads, each taken as it exits: signal->ioac would add
 * those of every child that was waited for. */
INLINE void sum_disk_bytes(const struct process_key *process, void *task, void *signal,
			   struct disk_bytes *sum)
{
#ifdef OFFSETOF_TASK_IOAC
	void *accounting = task + OFFSETOF_TASK_IOAC;
	struct disk_bytes nothing = {}, *total;

	sum->read_bytes = READ(u64, accounting, OFFSETOF_IOAC_READ_BYTES);
	sum->write_bytes = READ(u64, accounting, OFFSETOF_IOAC_WRITE_BYTES);
	/* A process of one thread needs no sum over threads. */
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

/* True: the process is to be described too. */
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
	/* Read after the sum: threads that leave at once may each find themselves the last, and the
	 * last to add tells the whole. */
	if (FIELD(u32, signal, OFFSETOF_SIGNAL_LIVE))
		return false;
	unknown = map_delete(MAP(PROCESSES), &process);
	if (unknown && !total.read_bytes && !total.write_bytes)
		return false; /* it never moved a byte: user space need not hear of it */
	fill_head(&event.head, EVENT_EXIT, &process, 0);
	event.disk_read_bytes = total.read_bytes;
	event.disk_write_bytes = total.write_bytes;
	emit(&event, sizeof(event));
	/* Its pages moved bytes, but none of its calls did: user space has not heard its name. */
	if (unknown)
		note_process(CONTEXT_RAW, &process);
	return unknown;
}

#endif
