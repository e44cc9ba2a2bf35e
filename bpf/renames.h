/* Names of files as they are now. At every tick, user space has some rows compared with their names.
 *
 * The kernel moves the dentry of a file that is renamed, so a row remembers the one it was found at, and a
 * hash of the names above it. The dentry stays in memory while the file is open, and mostly longer. It may
 * have been freed and used again: it is believed only if it belongs to the inode of the row.
 */
#ifndef PBMON_RENAMES_H
#define PBMON_RENAMES_H

#define ALIASES_MAX 8 /* hard links of one file that are tried */

INLINE bool has_name(void *dentry)
{
	return READ(void *, dentry, OFFSETOF_DENTRY_HASHED) != NULL;
}

/* Whether the row counts bytes of the inode. */
INLINE bool is_of_inode(const struct file_slot *row, void *inode)
{
	struct process_key process = { .start_ns = row->key.start_ns, .tgid = row->key.tgid };
	struct inode_head head = {};
	struct file_key key = {};

	if (!inode || READ_HEAD(&head, inode))
		return false;
	fill_file(&key, &process, inode, &head);
	return key.device == row->key.device && key.inode == row->key.inode &&
	       key.generation == row->key.generation && key.layer == row->key.layer;
}

/* Another name in the same folder of an inode whose name at `dentry` was removed: a hard link, or the one that a
 * file from O_TMPFILE got. The same dentry if there is none. A name in another folder is none of the user's
 * business: it may be root's backup, in a folder that only root can read. */
INLINE void *another_name(void *inode, void *dentry)
{
	void *folder = READ(void *, dentry, OFFSETOF_DENTRY_PARENT);
	void *node = READ(void *, inode, OFFSETOF_FIRST_ALIAS);

#pragma clang loop unroll(disable)
	for (int n = 0; n < ALIASES_MAX && node; n++) {
		void *other = node - OFFSETOF_DENTRY_ALIAS;

		if (has_name(other) && READ(void *, other, OFFSETOF_DENTRY_PARENT) == folder)
			return other;
		node = READ(void *, node, 0 /* struct hlist_node: next */);
	}
	return dentry;
}

/* Begin to compare the name of a row. False: it has none that can be compared. */
INLINE bool begin_look(struct scratch *scratch, u64 id)
{
	u32 slot = id;
	struct file_slot *row = file_row_of(id);
	struct file_name *name = map_lookup(MAP(FILE_NAMES), &slot);

	if (!row || !name || !name->place.dentry)
		return false;
	void *dentry = name->place.dentry;
	void *inode = READ(void *, dentry, OFFSETOF_DENTRY_INODE);
	if (!is_of_inode(row, inode) || READ(void *, name->place.mnt, OFFSETOF_VFSMOUNT_SB) !=
						READ(void *, inode, OFFSETOF_INODE_SB)) {
		name->place.dentry = NULL;
		row->counter.flags |= FLAG_UNPLACED;
		return false;
	}
	if (!READ(u32, inode, OFFSETOF_INODE_NLINK)) {
		row->counter.flags |= FLAG_UNLINKED;
	} else {
		row->counter.flags &= ~FLAG_UNLINKED;
		if (!has_name(dentry))
			dentry = name->place.dentry = another_name(inode, dentry);
	}
	scratch->at.dentry = dentry;
	scratch->at.mnt = name->place.mnt;
	scratch->root = name->root;
	scratch->print = 0;
	scratch->looking = id;
	return true;
}

/* The walker is at the end of the path. True: it is a new one, and the walker must send it. A path that
 * ends elsewhere than before is of a file system that was unmounted while the file was open: its name is
 * the last one that it is known to have had. */
INLINE bool end_look(struct scratch *scratch)
{
	struct file_slot *row = file_row_of(scratch->looking);
	u32 slot = scratch->looking;
	struct file_name *name = map_lookup(MAP(FILE_NAMES), &slot);

	scratch->looking = 0;
	if (!row || !name || scratch->at.dentry != name->root.dentry ||
	    scratch->at.mnt != name->root.mnt || scratch->print == name->print)
		return false;
	struct name_request request = {
		.kind = EVENT_FILE,
		.magic = READ(u64, READ(void *, name->place.mnt, OFFSETOF_VFSMOUNT_SB),
			      OFFSETOF_SUPERBLOCK_MAGIC),
		.inode = row->key.inode,
		.id = row->counter.id,
		.place = name->place,
		.root = name->root,
	};
	scratch->process.start_ns = row->key.start_ns;
	scratch->process.tgid = row->key.tgid;
	scratch->names[0] = request;
	scratch->name_count = 1;
	return true;
}

/* The body of the program "look": compare the next of `count` rows, then call itself for another. The
 * first element of the map "looks" is the number of rows that are done, the others are their ids. Where
 * the kernel's limit of tail calls is reached, user space calls again. */
INLINE void look(void *ctx, u32 context, void *tails, u32 count)
{
	struct scratch *scratch = scratch_of(context);
	bool whole = false;
	void *named;
	u32 at = 0;

	if (!scratch)
		return;
	u64 *done = map_lookup(MAP(LOOKS), &at);
	if (!done || *done >= count)
		goto end;
	at = *done + 1;
	u64 *id = map_lookup(MAP(LOOKS), &at);
	if (!id)
		goto end;
	scratch->name_count = scratch->names_sent = scratch->walking = scratch->message =
		scratch->resume = 0;
	if (scratch->looking == *id || begin_look(scratch, *id)) {
#pragma clang loop unroll(disable)
		for (int n = 0; n < PATH_STEPS && !whole; n++)
			whole = climb(scratch, &named);
		if (whole && end_look(scratch)) {
			scratch->resume = LOOK;
			scratch->rest = 0;
			tail_call(ctx, tails, WALKER);
			goto end;
		}
	}
	*done += !scratch->looking;
	tail_call(ctx, tails, LOOK);
end:
	scratch->name_count = scratch->resume = scratch->looking = 0;
	release_scratch(scratch);
}

#endif
