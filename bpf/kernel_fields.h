/* Reads of kernel structures by BTF offsets, and the helpers that they need.
 *
 * The loader defines every OFFSETOF_* and HAS_* from the running kernel's BTF. Helpers are declared
 * here by number (include/uapi/linux/bpf.h), so that any version of bcc will do.
 */
#ifndef PBMON_KERNEL_FIELDS_H
#define PBMON_KERNEL_FIELDS_H

#define INLINE static __attribute__((always_inline)) inline
/* For helpers that always return the same value within one run. A second call would cost 9 ns. */
#define CONSTANT __attribute__((const))

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
/* int, not long as in the kernel's header: the helper calls the map's own function, which returned an
 * int before Linux 6.4, so that the upper half of -EEXIST is zero (d7ba4cc900bf). */
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

/* Make the compiler forget which path led here. Otherwise it would compile the rest once per path. */
#define FORGET_PATH() asm volatile("" ::: "memory")

/* LLVM's name for the map behind a descriptor. The loader makes the maps before it compiles. */
u64 map_descriptor(u64 kind, u64 descriptor) asm("llvm.bpf.pseudo");
#define MAP(name) ((void *)map_descriptor(1, name##_FD))

/* READ(): a field of any kernel structure.
 *
 * bpf_rdonly_cast (6.2) turns any number into the address of a structure that the verifier lets us
 * read. We use struct sockaddr_storage, whose bytes from the 8th on may be loaded as any type of number.
 * Such a load costs as little as any other, and yields 0 if the address is bad. The function is called
 * by its BTF id; the loader marks these calls. Without it, a read is one bpf_probe_read_kernel, which
 * takes about 30 ns.
 *
 * HEAD(): a field near the beginning of a structure that READ_HEAD() has prepared. Where reads are
 * expensive, READ_HEAD() copies all of it at once; it returns nonzero if the address is bad. A load
 * takes eleven instructions of the processor, so HEAD() extracts a field from its 8-byte word, which
 * the compiler loads once for all its fields. */
#if CAST_LOADS
static void *(*cast)(const void *address, u64 type)CONSTANT = (void *)FUNCTION_RDONLY_CAST;
#define LOAD(type, base, offset) (*(type *)(cast((void *)(base) + (offset)-8, TYPE_SOCKADDR_STORAGE) + 8))
#define READ(type, base, offset) LOAD(type volatile, base, offset)
#define HEAD_OF(span) void *object
#define HEAD(type, head, offset) \
	((offset) % 8 + sizeof(type) > 8 ? \
		 READ(type, (head)->object, offset) : \
		 (type)(LOAD(u64, (head)->object, (offset) / 8 * 8) >> (offset) % 8 * 8))
#define READ_HEAD(head, from) ((head)->object = (from), 0)
#else
#define READ(type, base, offset) \
	({ \
		type read_value_ = 0; \
		read_kernel(&read_value_, sizeof(read_value_), (void *)(base) + (offset)); \
		read_value_; \
	})
#define HEAD_OF(span) u8 bytes[span]
#define HEAD(type, head, offset) (*(type *)((head)->bytes + (offset)))
#define READ_HEAD(head, from) read_kernel((head)->bytes, sizeof((head)->bytes), from)
#endif

/* BITS(): a field that is a bit field on some kernels and a whole byte on others. */
#define BITS(base, name) (READ(u8, base, OFFSETOF_##name) >> SHIFT_##name & MASK_##name)

/* FIELD(): a field of a structure whose type the verifier knows, which is an ordinary load. Only for
 * chains of pointers that start at current_task(). bpf_get_current_task_btf came with 5.11; without
 * it, the same fields are probe reads. */
#if TYPED_LOADS
static void *(*current_task)(void)CONSTANT = (void *)158;
#define FIELD(type, base, offset) (*(type volatile *)((void *)(base) + (offset)))
#else
static void *(*current_task)(void)CONSTANT = (void *)35;
#define FIELD(type, base, offset) READ(type, base, offset)
#endif

/* The saved user registers of a task, and one of them. They are at the top of its kernel stack;
 * bpf_task_pt_regs (5.15) knows where. The loader asks it once where any address can be loaded. */
#if TYPED_LOADS && !(CAST_LOADS && STACK_REGISTERS)
static void *(*task_registers)(void *task)CONSTANT = (void *)175;
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

/* The arguments of the task's current system call. The return value has not overwritten them, except
 * on arm64, where orig_x0 keeps the first. */
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
/* 32-bit programs call the same functions of the kernel by other numbers; fexit sees those, too. */
#define NR32_SENDFILE64 239
#define NR32_VMSPLICE 343
#define NR32_TEE 342
/* By the processor's mode (PSR_MODE32_BIT), because the numbers of the kernel's own flags change. */
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
/* 32-bit programs call functions of their own, which have no hooks. */
#define NR32_SENDFILE64 NR_SENDFILE
#define NR32_VMSPLICE NR_VMSPLICE
#define NR32_TEE NR_TEE
#define IS_32_BIT(task) (FIELD(u32, task, OFFSETOF_THREAD_STATUS) & 2 /* TS_COMPAT */)
#endif
#define ARGUMENT(registers, number) REGISTER(u64, registers, ARGUMENT_##number)
#define SYSCALL_NUMBER(registers) REGISTER(u32, registers, OFFSETOF_CALL_NUMBER)

/* The context of a program at the end of a system call: at its tracepoint, or at the end of the kernel's
 * function (fexit). The function's argument has no known type if a kernel may be built without the call
 * (kernel/sys_ni.c), so both kinds find the registers by the task. */
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
