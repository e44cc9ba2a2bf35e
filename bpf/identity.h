/* Which file an inode is: the part of a row's key by which the kernel itself tells files apart.
 *
 * Device, inode number and generation are enough on most file systems. A removed file's number is soon
 * that of another, so they give each use of a number another generation. Some need more:
 *
 * - btrfs: every subvolume and snapshot has inode numbers of its own, in one superblock. stat shows the
 *   device of the subvolume (btrfs_getattr in fs/btrfs/inode.c).
 * - overlayfs: its numbers are those of the files below it, which may be in several file systems, and it
 *   has no generations. What it has is the inode below that one of its own stands for (i_private:
 *   ovl_inode_set and ovl_get_inode in fs/overlayfs/inode.c). Copying a file up does not change it: the
 *   lower inode stays. So the identity of that inode counts, too.
 * - FUSE: the numbers are what the server says. The kernel goes by node ids (fuse_inode_eq in
 *   fs/fuse/inode.c). NTFS and others on a disk of their own (fuseblk) number their files themselves.
 */
#ifndef PBMON_IDENTITY_H
#define PBMON_IDENTITY_H

#define OVERLAYFS_MAGIC 0x794c7630
#define BTRFS_MAGIC 0x9123683e
#define FUSE_MAGIC 0x65735546
#define STACK_MAX 2   /* include/linux/fs.h: FILESYSTEM_MAX_STACK_DEPTH */
#define LAYERS_MAX 16 /* file systems below one overlayfs, as far as their devices are looked for */
#define DEVICE_UNKNOWN 0

/* Enough of struct inode, in one read, for a key and a class. */
struct inode_head {
	HEAD_OF(INODE_SPAN);
} __attribute__((aligned(8)));

INLINE u32 generation_of(void *inode, const struct inode_head *head)
{
#if OFFSETOF_INODE_GENERATION + 4 <= INODE_SPAN
	return HEAD(u32, head, OFFSETOF_INODE_GENERATION);
#else
	return READ(u32, inode, OFFSETOF_INODE_GENERATION);
#endif
}

INLINE u32 magic_of(u64 superblock)
{
	return READ(u64, (void *)superblock, OFFSETOF_SUPERBLOCK_MAGIC);
}

/* Which inode of its superblock it is. */
struct identity {
	u32 device;     /* of the superblock, or of the subvolume */
	u32 node;       /* what tells apart inodes to which a server gave one number, or 0 */
	u32 is_stacked; /* it is one of overlayfs */
};

/* Only file systems without a disk, whose devices have the major number 0, need more than a device.
 * (btrfs, too, has a device of its own in place of its disks'.) */
INLINE struct identity identity_of(void *inode, u64 superblock)
{
	struct identity it = {
		.device = READ(u32, (void *)superblock, OFFSETOF_SUPERBLOCK_DEV),
	};

	if (it.device >> 20)
		return it;
	u32 magic = magic_of(superblock);
	it.is_stacked = magic == OVERLAYFS_MAGIC;
#ifdef OFFSETOF_BTRFS_ROOT_ANON_DEV
	if (magic == BTRFS_MAGIC) {
		void *own = inode - OFFSETOF_BTRFS_INODE_VFS_INODE;

		it.device = READ(u32, READ(void *, own, OFFSETOF_BTRFS_INODE_ROOT),
				 OFFSETOF_BTRFS_ROOT_ANON_DEV);
	}
#endif
#ifdef OFFSETOF_FUSE_INODE_NODEID
	if (magic == FUSE_MAGIC) {
		u64 node = READ(u64, inode - OFFSETOF_FUSE_INODE_INODE, OFFSETOF_FUSE_INODE_NODEID);

		it.node = node ^ node >> 32; /* it may be an address */
	}
#endif
	return it;
}

/* Complete the key of an inode of overlayfs by the identity of the inode that it stands for. There is
 * none for a lower file with several names that was not written yet: each name gets an inode. */
INLINE void identify_layer(struct file_key *key, void *inode)
{
	struct identity it = {};
	void *below = inode, *next;

#pragma clang loop unroll(full)
	for (u32 n = 0; n < STACK_MAX; n++) {
		next = READ(void *, below, OFFSETOF_INODE_PRIVATE);
		if (!next)
			break;
		below = next;
		it = identity_of(below, READ(u64, below, OFFSETOF_INODE_SB));
		if (!it.is_stacked)
			break;
	}
	if (below == inode)
		return;
	key->generation = READ(u32, below, OFFSETOF_INODE_GENERATION);
	key->layer = it.device ^ it.node * 0x9e3779b9;
}

/* Fill in the part of the key that is about the inode. */
INLINE void identify_file(struct file_key *key, void *inode, const struct inode_head *head)
{
	struct identity it = identity_of(inode, HEAD(u64, head, OFFSETOF_INODE_SB));

	key->inode = HEAD(u64, head, OFFSETOF_INODE_INO);
	key->generation = generation_of(inode, head);
	key->device = it.device;
	key->layer = it.node;
	if (it.is_stacked)
		identify_layer(key, inode);
}

/* The device that stat shows for a file of overlayfs, as ovl_map_dev_ino (fs/overlayfs/inode.c) has it:
 * its own if the numbers of all layers are unique in it, else one for each file system below. */
INLINE u32 overlay_device(const struct file_key *key, void *inode)
{
#ifdef OFFSETOF_OVL_SB_PSEUDO_DEV
	void *overlay = READ(void *, READ(void *, inode, OFFSETOF_INODE_SB), OFFSETOF_SUPERBLOCK_FS_INFO);
	void *below = READ(void *, inode, OFFSETOF_INODE_PRIVATE);
	s32 bits = READ(s32, overlay, OFFSETOF_OVL_FS_XINO_MODE);

	if (!bits)
		return key->device;
	if (!below)
		return DEVICE_UNKNOWN;
	if (bits > 0 && !(READ(u64, below, OFFSETOF_INODE_INO) >> (64 - bits & 63)))
		return key->device;
	void *layers = READ(void *, overlay, OFFSETOF_OVL_FS_FS);
	u64 superblock = READ(u64, below, OFFSETOF_INODE_SB);
	u32 count = READ(u32, overlay, OFFSETOF_OVL_FS_NUMFS);

#pragma clang loop unroll(disable)
	for (u32 n = 0; n < LAYERS_MAX && n < count; n++) {
		void *layer = layers + n * SIZEOF_OVL_SB;

		if (READ(u64, layer, OFFSETOF_OVL_SB_SB) == superblock)
			return READ(u32, layer, OFFSETOF_OVL_SB_PSEUDO_DEV);
	}
#endif
	return DEVICE_UNKNOWN;
}

/* The device that stat shows for a file; DEVICE_UNKNOWN if this daemon cannot find it. */
INLINE u32 shown_device(const struct file_key *key, void *inode, u32 magic)
{
	if (magic == OVERLAYFS_MAGIC)
		return overlay_device(key, inode);
#ifndef OFFSETOF_BTRFS_ROOT_ANON_DEV
	if (magic == BTRFS_MAGIC)
		return DEVICE_UNKNOWN;
#endif
	return key->device;
}

#endif
