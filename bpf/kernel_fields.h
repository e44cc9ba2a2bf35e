/* Reads of kernel structures through BTF offsets, and the helpers they need.
 *
 * The loader defines every OFFSETOF_* and HAS_* from the running kernel's BTF. Helpers are declared
 * here by number (include/uapi/linux/bpf.h), so that any version of bcc serves.
 */
#ifndef PBMON_KERNEL_FIELDS_H
#define PBMON_KERNEL_FIELDS_H

#define INLINE static __attribute__((always_inline)) inline
/* For helpers whose result is the same whenever a program asks: asking again costs 9 ns. */
#define CONSTANT __attribute__((const))

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
/* Not long, as the kernel's header has it: it calls the map's own function, whose result was an int
 * before Linux 6.4, so that the upper half of -EEXIST is zero (d7ba4cc900bf). */
static int (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static int (*map_delete)(void *map, const void *key) = (void *)3;
static void (*tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static u64 (*current_pid_tgid)(void) = (void *)14;
static int (*map_push)(void *map, const void *value, u64 flags) = (void *)87;
static int (*map_pop)(void *map, void *value) = (void *)88;
static long (*read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*read_kernel_string)(void *to, u32 size, const void *from) = (void *)115;
static u64 (*boottime_ns)(void) = (void *)125;
static long (*ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static u64 (*ringbuf_query)(void *ring, u64 flags) = (void *)134;

/* The compiler would go on from what it knows of the path so far, once for each of them. */
#define FORGET_PATH() asm volatile("" ::: "memory")

/* LLVM's name for "the map behind this descriptor"; the loader made the maps before compiling. */
u64 map_descriptor(u64 kind, u64 descriptor) asm("llvm.bpf.pseudo");
#define MAP(name) ((void *)map_descriptor(1, name##_FD))

/* READ(): a field of any kernel structure.
 *
 * bpf_rdonly_cast (6.2) makes any number the address of a structure of our choice, which the verifier
 * lets us read: struct sockaddr_storage, because its bytes from the 8th on may be loaded as any type
 * of number. Such a load costs as much as any other, and yields 0 if the address is bad. It is called
 * by its BTF id, for which the loader marks the calls. Without it a read is one
 * bpf_probe_read_kernel, about 30 ns.
 *
 * HEAD(): a field near the beginning of a structure that READ_HEAD() has met; where reads are dear,
 * that copies it all at once. READ_HEAD() is not 0 if the address is bad. A load is eleven instructions
 * of the processor, so HEAD() takes a field out of its word, which is loaded once for all its fields. */
#if CAST_LOADS
static void *(*cast)(const void *address, u64 type) CONSTANT = (void *)FUNCTION_RDONLY_CAST;
#define LOAD(type, base, offset) \
	(*(type *)(cast((void *)(base) + (offset) - 8, TYPE_SOCKADDR_STORAGE) + 8))
#define READ(type, base, offset) LOAD(type volatile, base, offset)
#define HEAD_OF(span) void *object
#define HEAD(type, head, offset) ((offset) % 8 + sizeof(type) > 8 ?		\
	READ(type, (head)->object, offset) :					\
	(type)(LOAD(u64, (head)->object, (offset) / 8 * 8) >> (offset) % 8 * 8))
#define READ_HEAD(head, from) ((head)->object = (from), 0)
#else
#define READ(type, base, offset) ({						\
	type read_value_ = 0;							\
	read_kernel(&read_value_, sizeof(read_value_), (void *)(base) + (offset));	\
	read_value_;								\
})
#define HEAD_OF(span) u8 bytes[span]
#define HEAD(type, head, offset) (*(type *)((head)->bytes + (offset)))
#define READ_HEAD(head, from) read_kernel((head)->bytes, sizeof((head)->bytes), from)
#endif

/* BITS(): a bit field of some kernels, which is a whole byte on others. */
#define BITS(base, name) (READ(u8, base, OFFSETOF_##name) >> SHIFT_##name & MASK_##name)

/* FIELD(): a load that the verifier knows to be of a kernel structure, so that it costs as much as
 * any load. Only for chains that start at current_task(). bpf_get_current_task_btf came with 5.11;
 * without it the same fields are probe reads. */
#if TYPED_LOADS
static void *(*current_task)(void) CONSTANT = (void *)158;
#define FIELD(type, base, offset) (*(type volatile *)((void *)(base) + (offset)))
#else
static void *(*current_task)(void) CONSTANT = (void *)35;
#define FIELD(type, base, offset) READ(type, base, offset)
#endif

/* The saved user registers of a task, and one of them. They lie at the top of its kernel stack: where,
 * bpf_task_pt_regs (5.15) knows, which the loader asks once where any address may be loaded from. */
#if TYPED_LOADS && !(CAST_LOADS && STACK_REGISTERS)
static void *(*task_registers)(void *task) CONSTANT = (void *)175;
#define REGISTER(type, registers, offset) FIELD(type, registers, offset)
#else
#if !STACK_REGISTERS
#undef STACK_REGISTERS
#define STACK_REGISTERS (THREAD_SIZE - STACK_PADDING - SIZEOF_PT_REGS)
#endif
#define REGISTER(type, registers, offset) READ(type, registers, offset)
INLINE void *task_registers(void *task)
{
	return FIELD(void *, task, OFFSETOF_TASK_STACK) + STACK_REGISTERS;
}
#endif

/* The arguments of the system call that the task is in; the return value has not touched them
 * except on arm64, where the first lives on in orig_x0. */
#if ARCH_ARM64
#define ARGUMENT_1 OFFSETOF_ORIG_X0
#define ARGUMENT_2 (OFFSETOF_REGS + 8)
#define ARGUMENT_3 (OFFSETOF_REGS + 16)
#define ARGUMENT_4 (OFFSETOF_REGS + 24)
#define ARGUMENT_5 (OFFSETOF_REGS + 32)
#define ARGUMENT_6 (OFFSETOF_REGS + 40)
#define OFFSETOF_CALL_NUMBER OFFSETOF_SYSCALLNO
#define NR_SENDTO 206
#define NR_SENDMSG 211
#define NR_SENDMMSG 269
#define NR_SENDFILE 71
#define NR_VMSPLICE 75
#define NR_TEE 77
/* 32-bit programs reach the same functions of the kernel, where fexit meets them, by other numbers. */
#define NR32_SENDFILE64 239
#define NR32_VMSPLICE 343
#define NR32_TEE 342
/* By the processor's own mode, PSR_MODE32_BIT: the kernel's numbers of its flags change. */
#define IS_32_BIT(task) (REGISTER(u64, task_registers(task), OFFSETOF_PSTATE) & 0x10)
#else
#define ARGUMENT_1 OFFSETOF_DI
#define ARGUMENT_2 OFFSETOF_SI
#define ARGUMENT_3 OFFSETOF_DX
#define ARGUMENT_4 OFFSETOF_R10
#define ARGUMENT_5 OFFSETOF_R8
#define ARGUMENT_6 OFFSETOF_R9
#define OFFSETOF_CALL_NUMBER OFFSETOF_ORIG_AX
#define NR_SENDTO 44
#define NR_SENDMSG 46
#define NR_SENDMMSG 307
#define NR_SENDFILE 40
#define NR_VMSPLICE 278
#define NR_TEE 276
/* 32-bit programs reach functions of their own, and so none of these programs. */
#define NR32_SENDFILE64 NR_SENDFILE
#define NR32_VMSPLICE NR_VMSPLICE
#define NR32_TEE NR_TEE
#define IS_32_BIT(task) (FIELD(u32, task, OFFSETOF_THREAD_STATUS) & 2 /* TS_COMPAT */)
#endif
#define ARGUMENT(registers, number) REGISTER(u64, registers, ARGUMENT_##number)
#define SYSCALL_NUMBER(registers) REGISTER(u32, registers, OFFSETOF_CALL_NUMBER)

/* What a program meets on the way out of a system call: at its tracepoint, or at the end of the
 * kernel's function (fexit). The registers that the latter has as its argument are of no known type
 * where a kernel may be built without the call (kernel/sys_ni.c), so that both find them by the task. */
struct call {
#if CALLS_BY_FEXIT
	void *registers;
#else
	u64 common;
	u64 number;
#endif
	s64 result;
};
#define CALL_ARGUMENT(ctx, number) ARGUMENT(task_registers(current_task()), number)

#endif
