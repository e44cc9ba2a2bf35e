/* What a system call moved between a process and its open files, or from one open file to another. */
#ifndef PBMON_CALLS_H
#define PBMON_CALLS_H

#if FILES || SOCKETS_AT_EXIT
INLINE int count_descriptor(struct call *ctx, enum direction direction, s64 bytes)
{
	struct process_key process;

	if (bytes <= 0)
		return 0;
	u64 descriptor = CALL_ARGUMENT(ctx, 1);
	identify_current(&process);
	if (count_file(CONTEXT_EXIT, &process, file_of(descriptor), direction, bytes, false))
		continue_in(ctx, CONTEXT_EXIT, MAP(EXIT_TAILS), FIRST);
	return 0;
}

INLINE int count_one_end(struct call *ctx, enum direction direction)
{
	return count_descriptor(ctx, direction, ctx->result);
}

/* A call that moves bytes from one open file to another; NULL: that end is not counted. A loop keeps
 * the body from being compiled twice, which takes most of the compile time. */
INLINE int count_both_ends(struct call *ctx, void *in, void *out)
{
	struct process_key process;
	bool first = false;

	identify_current(&process);
#pragma clang loop unroll(disable)
	for (int end = RX; end <= TX; end++) {
		void *file = end == RX ? in : out;

		if (file)
			first |= count_file(CONTEXT_EXIT, &process, file, end, ctx->result, true);
	}
	if (first)
		continue_in(ctx, CONTEXT_EXIT, MAP(EXIT_TAILS), FIRST);
	return 0;
}

INLINE void *file_argument(u64 descriptor, u64 bytes)
{
	void *file = file_of(descriptor);

	if (!file)
		record_loss(LOST_BYTES, bytes);
	return file;
}
#endif

#endif
