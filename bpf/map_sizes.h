/* The sizes of keys and values that the loader gives the maps are those of the structures here. */
#ifndef PBMON_MAP_SIZES_H
#define PBMON_MAP_SIZES_H

/* Check what pbmond/loader/kernel_maps.py says about a map. */
#define CHECK_VALUE(map, value) _Static_assert(sizeof(value) == VALUE_SIZE_##map, #map)
#define CHECK_MAP(map, key, value) \
	_Static_assert(sizeof(key) == KEY_SIZE_##map, #map); \
	CHECK_VALUE(map, value)

CHECK_MAP(FLOW_INDEX, struct flow_key, u32);
CHECK_MAP(FILE_INDEX, struct file_key, u32);
CHECK_MAP(OVERFLOW_INDEX, struct overflow_key, u32);
CHECK_MAP(FLOW_SLOTS, u32, struct flow_slot);
CHECK_MAP(FILE_SLOTS, u32, struct file_slot);
CHECK_MAP(OVERFLOW_SLOTS, u32, struct overflow_slot);
CHECK_MAP(FILE_NAMES, u32, struct file_name);
CHECK_MAP(LOOKS, u32, u64);
CHECK_VALUE(FLOW_FREE, u32);
CHECK_VALUE(FILE_FREE, u32);
CHECK_VALUE(OVERFLOW_FREE, u32);
CHECK_MAP(LOST, u32, u64);
CHECK_MAP(HIGH_WATER, u32, struct high_water);
CHECK_MAP(FLOW_HINTS, u32, u32);
CHECK_MAP(FILE_HINTS, u32, u32);
CHECK_MAP(RAW_SCRATCH, u32, struct scratch);
CHECK_MAP(EXIT_SCRATCH, u32, struct scratch);
CHECK_MAP(PROCESSES, struct process_key, u8);
CHECK_MAP(EXITS, struct process_key, struct disk_bytes);
CHECK_MAP(OPENINGS, struct endpoints, u8);
CHECK_MAP(TCP_OWNERS, void *, struct tcp_owner);
CHECK_MAP(BATCHES, u64, struct batch);
CHECK_MAP(KNOWN_REQUESTS, struct known_key, struct known);
#if FILES || SOCKETS_AT_EXIT
CHECK_MAP(AIO_REQUESTS, struct aio_key, struct aio_request);
CHECK_MAP(AIO_TAKEN, struct aio_key, u8);
CHECK_MAP(AIO_RINGS, struct aio_key, struct aio_seen);
#endif
_Static_assert(LOST_ENTRIES == LOST_COUNT, "lost");

#endif
