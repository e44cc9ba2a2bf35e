/* Who but root may see a process: whom ptrace's rule lets read its files in /proc (__ptrace_may_access in
 * kernel/ptrace.c, cap_ptrace_access_check in security/commoncap.c).
 */
#ifndef PBMON_VIEWERS_H
#define PBMON_VIEWERS_H

#define DUMPABLE 1 /* SUID_DUMP_USER of include/linux/sched/coredump.h */
#define DUMPABLE_MASK 3
#define PR_SET_DUMPABLE 4

/* Whether a task's memory may be looked at. What executes a set-uid program, gains a capability or changes
 * its effective user loses this (commit_creds in kernel/cred.c). */
INLINE bool is_dumpable(void *task)
{
#if defined(OFFSETOF_TASK_EXEC_STATE) && defined(OFFSETOF_EXEC_STATE_DUMPABLE)
	void *state = READ(void *, task, OFFSETOF_TASK_EXEC_STATE);

	return state && READ(u32, state, OFFSETOF_EXEC_STATE_DUMPABLE) == DUMPABLE;
#else
	void *mm = READ(void *, task, OFFSETOF_TASK_MM);

	return mm && (READ(u64, mm, OFFSETOF_MM_FLAGS) & DUMPABLE_MASK) == DUMPABLE;
#endif
}

/* Root's processes are those with its effective uid. Another user's have one uid throughout and no
 * capability; in a user namespace of that user they may have any. */
INLINE u32 viewer_by(void *cred)
{
	u32 uid = READ(u32, cred, OFFSETOF_CRED_EUID);
	void *namespace = READ(void *, cred, OFFSETOF_CRED_USER_NS);

	if (!uid)
		return uid;
	if (READ(u32, cred, OFFSETOF_CRED_UID) != uid || READ(u32, cred, OFFSETOF_CRED_SUID) != uid)
		return NO_VIEWER;
	if (READ(void *, namespace, OFFSETOF_USER_NS_PARENT))
		return READ(u32, namespace, OFFSETOF_USER_NS_OWNER) == uid ? uid : NO_VIEWER;
	return READ(u64, cred, OFFSETOF_CRED_CAP_PERMITTED) ? NO_VIEWER : uid;
}

/* By the credentials of the thread and of the main thread, which a single system call may change. */
INLINE u32 viewer_of(void *task, void *leader)
{
	u32 uid = viewer_by(READ(void *, task, OFFSETOF_TASK_REAL_CRED));

	if (uid != viewer_by(READ(void *, leader, OFFSETOF_TASK_REAL_CRED)))
		return NO_VIEWER;
	return uid && !is_dumpable(task) ? NO_VIEWER : uid;
}

#endif
