/* The counting tables: find a row, claim a new one, or fall back when the table is full. */
#ifndef PBMON_TABLES_H
#define PBMON_TABLES_H

#define BPF_NOEXIST 1
#define EEXIST 17
#define EBUSY 16

enum direction { RX, TX };

/* The highest slot used so far, and how many slots were taken. Each processor has its own, so that no
 * two write the same word. User space maps no more of a table than the first, and makes room early if
 * the second grows fast. */
struct high_water {
	u32 flow;
	u32 file;
	u32 overflow;
	u32 zero;
	u32 flow_taken;
	u32 file_taken;
	u32 overflow_taken;
	u32 zero_too;
};

static u32 (*processor)(void) = (void *)8;

INLINE void record_loss(u32 reason, u64 amount)
{
	u64 *lost = map_lookup(MAP(LOST), &reason);

	if (lost)
		__sync_fetch_and_add(lost, amount);
}

INLINE void count(struct counter *counter, enum direction direction, u64 bytes, u64 calls)
{
	if (direction == RX) {
		__sync_fetch_and_add(&counter->rx_bytes, bytes);
		__sync_fetch_and_add(&counter->rx_calls, calls);
	} else {
		__sync_fetch_and_add(&counter->tx_bytes, bytes);
		__sync_fetch_and_add(&counter->tx_calls, calls);
	}
}

/* The row with a remembered id; NULL: it is gone. User space clears the key of a row first
 * and reads its final value later, so bytes added to a row without a key could be lost. */
INLINE struct flow_slot *flow_of(u64 id)
{
	u32 slot = id;
	struct flow_slot *row = map_lookup(MAP(FLOW_SLOTS), &slot);

	return row && row->counter.id == id && row->key.start_ns ? row : NULL;
}

INLINE struct file_slot *file_row_of(u64 id)
{
	u32 slot = id;
	struct file_slot *row = map_lookup(MAP(FILE_SLOTS), &slot);

	return row && row->counter.id == id && row->key.tgid ? row : NULL;
}

INLINE void *find(void *index, void *slots, const void *key)
{
	u32 *slot = map_lookup(index, key);

	return slot ? map_lookup(slots, slot) : NULL;
}

/* Takes what a program knows early, so that the processor can load hint and row in the meantime. */
INLINE u32 hint_of(const struct process_key *process, u64 object)
{
	return (process->start_ns + object) * 0x9e3779b97f4a7c15ull >> (64 - HINT_BITS);
}

/* Whether a slot is in use for a key: first_ns is set only after the key is in the index. */
INLINE bool is_row_of(const u64 *slot, const u64 *key, u32 size)
{
	u64 difference = 0;

	for (u32 n = 0; n < size / 8; n++)
		difference |= slot[n] ^ key[n];
	return !difference && ((const struct counter *)((void *)slot + size))->first_ns;
}

/* find(), for rows that every call looks up. It first tries the slot found last time under the hint
 * `at`, which takes 5 ns instead of the hash map's 50; the slot's key shows whether the hint is right. */
INLINE void *find_by_hint(void *hints, u32 at, void *index, void *slots, const void *key, u32 size)
{
	u32 *hint = map_lookup(hints, &at);
	void *row = hint ? map_lookup(slots, hint) : NULL;
	u32 *slot;

	if (row && is_row_of(row, key, size))
		return row;
	slot = map_lookup(index, key);
	if (!slot || !hint)
		return NULL;
	*hint = *slot;
	return map_lookup(slots, slot);
}

/* A slot's id changes with each use, so that user space never mistakes a new row for an old one. */
INLINE u64 next_id(u64 id, u32 slot)
{
	return ((id >> 32) + 1) << 32 | slot;
}

#define NOTE_SLOT(table, slot) \
	({ \
		u32 cpu_ = processor(); \
		struct high_water *high_ = map_lookup(MAP(HIGH_WATER), &cpu_); \
		if (high_ && high_->table < (slot) + 1) \
			high_->table = (slot) + 1; \
		high_ ? ++high_->table##_taken : 0; \
	})

/* Let the collector see early how fast a table fills up: wake it after so many slots. It reads the ring
 * at every tick anyway, so this record says nothing, and that it may not fit does not matter. */
INLINE void wake_after(u32 taken)
{
	struct event nothing = { .kind = EVENT_SLOTS };

	if (taken % 1024 == 0)
		ringbuf_output(MAP(EVENTS), &nothing, sizeof(nothing), 2 /* BPF_RB_FORCE_WAKEUP */);
}

/* The locks of hash and stack maps may fail, and then the helpers do, although the map has room: since
 * 6.15 (kernel/bpf/rqspinlock.c) when whoever holds the lock makes no progress for a quarter of a second,
 * or one second in a virtual machine, as when the host has descheduled that processor; where the check
 * for deadlocks errs, at once; and before, in an NMI. A row must not go without its slot for that, so
 * they are tried again. */
#define LOCK_TRIES 4

INLINE bool take_slot(void *unused, u32 *slot)
{
	int error = -EBUSY;

#pragma clang loop unroll(full)
	for (u32 n = 0; n < LOCK_TRIES; n++) {
		if (error == -EBUSY)
			error = map_pop(unused, slot); /* -ENOENT: there is none */
	}
	return !error;
}

INLINE void return_slot(void *unused, u32 *slot)
{
	int error = -EBUSY;

#pragma clang loop unroll(full)
	for (u32 n = 0; n < LOCK_TRIES; n++) {
		if (error == -EBUSY)
			error = map_push(unused, slot, 0);
	}
}

/* False: another processor was faster. Whoever has a slot finds room in the index as well. */
INLINE bool add_to_index(void *index, const void *key, u32 *slot)
{
	int error = -EBUSY;

#pragma clang loop unroll(full)
	for (u32 n = 0; n < LOCK_TRIES; n++) {
		if (error && error != -EEXIST)
			error = map_update(index, key, slot, BPF_NOEXIST);
	}
	return !error;
}

/* Make a row visible: first its key, then its time. False: another processor was faster. Then the slot
 * is free again. */
INLINE bool publish(void *index, void *unused, const void *key, u32 *slot, struct counter *counter)
{
	if (!add_to_index(index, key, slot)) {
		return_slot(unused, slot);
		return false;
	}
	counter->first_ns = boottime_ns();
	return true;
}

/* Count bytes that have no row of their own for their process and class. */
INLINE void count_overflow(const struct process_key *process, u32 class, enum direction direction,
			   u64 bytes, u64 calls)
{
	struct overflow_key key = {
		.start_ns = process->start_ns,
		.tgid = process->tgid,
		.class = class,
	};
	struct overflow_slot *row = find(MAP(OVERFLOW_INDEX), MAP(OVERFLOW_SLOTS), &key);
	u32 slot;

	if (!row && take_slot(MAP(OVERFLOW_FREE), &slot)) {
		row = map_lookup(MAP(OVERFLOW_SLOTS), &slot);
		if (row) {
			row->key = key;
			row->counter.id = next_id(row->counter.id, slot);
			row->counter.class = class;
			NOTE_SLOT(overflow, slot);
			if (!publish(MAP(OVERFLOW_INDEX), MAP(OVERFLOW_FREE), &key, &slot, &row->counter))
				row = find(MAP(OVERFLOW_INDEX), MAP(OVERFLOW_SLOTS), &key);
		}
	}
	if (row)
		count(&row->counter, direction, bytes, calls);
	else
		record_loss(LOST_BYTES, bytes);
}

/* Put `count` slots, end-1, end-2 and so on, on a table's stack of free slots. The loader runs this
 * before it attaches anything. */
INLINE void fill_free_slots(void *unused, u32 end, u32 count)
{
#pragma clang loop unroll(disable)
	for (u32 n = 0; n < FILL_MAX; n++) {
		u32 slot = end - 1 - n;

		/* Hide `count` from the compiler: it would merge both bounds into one that the verifier
		 * cannot follow. */
		asm volatile("" : "+r"(count));
		if (n >= count)
			return;
		map_push(unused, &slot, 0);
	}
}

#endif
