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
 * - NFS and SMB: the numbers are the server's, and no generation comes with them. The kernel goes by the
 *   file handle (nfs_find_actor in fs/nfs/inode.c), and by the time of creation (cifs_find_inode in
 *   fs/smb/client/inode.c).
 * - Ceph never uses a number again, but a file and those in snapshots share one (ceph_ino_compare in
 *   fs/ceph/super.h).
 *
 * AFS and 9P2000.L do have generations: i_generation is what the server says (afs_iget5_set in
 * fs/afs/inode.c, v9fs_set_inode_dotl in fs/9p/vfs_inode_dotl.c). Older 9P has only a version that each
 * write changes.
 *
 * And a device is soon that of another file system: of the next image in a loop device, or of whatever is
 * mounted next without a disk. Where generations do not tell those apart, something else does:
 *
 * - a disk has a sequence number, which is new whenever what is in it may be (since 5.15);
 * - a file system of a server has a backing_dev_info of its own, whose number is never used again;
 * - btrfs begins its generations at 1 and so does every other btrfs, but each has a UUID.
 */
#ifndef PBMON_IDENTITY_H
#define PBMON_IDENTITY_H

#define OVERLAYFS_MAGIC 0x794c7630
#define BTRFS_MAGIC 0x9123683e
#define FUSE_MAGIC 0x65735546
#define NFS_MAGIC 0x6969
#define SMB_MAGIC 0xff534d42
#define SMB2_MAGIC 0xfe534d42
#define V9FS_MAGIC 0x01021997
#define CEPH_MAGIC 0x00c36400
#define AFS_MAGIC 0x5346414f
#define VBOXSF_MAGIC 0x786f4256
#define NFS_HANDLE_MAX 128  /* include/linux/nfs.h: NFS_MAXFHSIZE */
#define CEPH_NOSNAP (-2ull) /* include/linux/ceph/ceph_fs.h */
#define STACK_MAX 2         /* include/linux/fs.h: FILESYSTEM_MAX_STACK_DEPTH */
#define LAYERS_MAX 16       /* file systems below one overlayfs, as far as their devices are looked for */
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

/* Other reads than those of CAST_LOADS would take more of the stack than io_uring's programs have left. */
INLINE u32 disk_of(u64 superblock)
{
#if CAST_LOADS && defined(OFFSETOF_DISK_SEQUENCE)
	void *device = READ(void *, (void *)superblock, OFFSETOF_SUPERBLOCK_BDEV);

	return READ(u64, READ(void *, device, OFFSETOF_BDEV_DISK), OFFSETOF_DISK_SEQUENCE);
#else
	return 0;
#endif
}

/* Which of the file systems it is that servers give out, one after another under one device; or 0. */
INLINE u32 mount_of(u64 superblock, u32 magic)
{
#if CAST_LOADS
	switch (magic) {
	case FUSE_MAGIC:
	case NFS_MAGIC:
	case SMB_MAGIC:
	case SMB2_MAGIC:
	case V9FS_MAGIC:
	case CEPH_MAGIC:
	case AFS_MAGIC:
	case VBOXSF_MAGIC:
		return READ(u64, READ(void *, (void *)superblock, OFFSETOF_SUPERBLOCK_BDI),
			    OFFSETOF_BDI_ID);
	case BTRFS_MAGIC:
		return READ(u32, (void *)superblock, OFFSETOF_SUPERBLOCK_UUID);
	}
#endif
	return 0;
}

/* Where an inode is. Only a file system without a disk, whose device has the major number 0, has a magic
 * number here. (btrfs, too, has a device of its own in place of its disks'.) */
struct where {
	u64 superblock;
	u32 device; /* of the superblock, or of the subvolume */
	u32 magic;
};

INLINE void locate(struct where *it, u64 superblock)
{
	it->superblock = superblock;
	it->device = READ(u32, (void *)superblock, OFFSETOF_SUPERBLOCK_DEV);
	it->magic = it->device >> 20 ? 0 : magic_of(superblock);
}

/* The inode that one of overlayfs stands for, or itself: a lower file with several names that was not
 * written yet has an inode for each, and nothing tells which they stand for. */
INLINE void *bottom_of(void *inode, struct where *it)
{
	void *below = inode;

#pragma clang loop unroll(full)
	for (u32 n = 0; n < STACK_MAX; n++) {
		void *next = it->magic == OVERLAYFS_MAGIC ? READ(void *, below, OFFSETOF_INODE_PRIVATE) :
							    NULL;

		if (next) {
			below = next;
			locate(it, READ(u64, below, OFFSETOF_INODE_SB));
		}
	}
	return below;
}

/* 32 bits for 64: those may be an address or a time. */
INLINE u32 folded(u64 value)
{
	return value ^ value >> 32;
}

#ifdef OFFSETOF_NFS_INODE_HANDLE
/* A hash of a file handle with its size, which stands before it. The handle is opaque (RFC 8881, 4): the
 * server of Linux has the generation in its last bytes, or before the parent's, others have it anywhere
 * else. So every byte counts; of those behind the handle, which are not cleared, none. */
INLINE u32 handle_of(void *inode)
{
	void *handle = inode - OFFSETOF_NFS_INODE_INODE + OFFSETOF_NFS_INODE_HANDLE;
	u64 hash = 0;
	s32 left = 0;

#pragma clang loop unroll(disable)
	for (u32 at = 0; at < NFS_HANDLE_MAX + sizeof(u16); at += 8) {
		u64 word = READ(u64, handle, at);

		if (!at)
			left = (u16)word + sizeof(u16);
		if (left < 8)
			word &= -1ull >> (64 - 8 * left & 63);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15;
		hash ^= hash >> 32; /* else the last bytes of a word change few bits */
		left -= 8;
		if (left <= 0)
			break;
	}
	return hash;
}
#endif

#ifdef OFFSETOF_CEPH_INODE_SNAP
INLINE u64 snapshot_of(void *inode)
{
	return READ(u64, inode - OFFSETOF_CEPH_INODE_INODE, OFFSETOF_CEPH_INODE_SNAP);
}
#endif

/* What else tells apart inodes with one number, or 0; and the device of a subvolume. */
INLINE u32 node_of(void *inode, struct where *it, u32 generation)
{
	if (it->device >> 20)
		return generation ? 0 : disk_of(it->superblock);
	u32 node = mount_of(it->superblock, it->magic) * 0x9e3779b9;
#ifdef OFFSETOF_BTRFS_ROOT_ANON_DEV
	if (it->magic == BTRFS_MAGIC) {
		void *own = inode - OFFSETOF_BTRFS_INODE_VFS_INODE;

		it->device = READ(u32, READ(void *, own, OFFSETOF_BTRFS_INODE_ROOT),
				  OFFSETOF_BTRFS_ROOT_ANON_DEV);
	}
#endif
#ifdef OFFSETOF_FUSE_INODE_NODEID
	if (it->magic == FUSE_MAGIC)
		node ^= folded(READ(u64, inode - OFFSETOF_FUSE_INODE_INODE, OFFSETOF_FUSE_INODE_NODEID));
#endif
#ifdef OFFSETOF_SMB_INODE_CREATED
	if (it->magic == SMB_MAGIC || it->magic == SMB2_MAGIC)
		node ^= folded(READ(u64, inode - OFFSETOF_SMB_INODE_INODE, OFFSETOF_SMB_INODE_CREATED));
#endif
#ifdef OFFSETOF_CEPH_INODE_SNAP
	if (it->magic == CEPH_MAGIC)
		node ^= folded(snapshot_of(inode));
#endif
	return node;
}

/* Fill in the part of the key that is about the inode. */
INLINE void identify_file(struct file_key *key, void *inode, const struct inode_head *head)
{
	struct where it;

	locate(&it, HEAD(u64, head, OFFSETOF_INODE_SB));
	key->inode = HEAD(u64, head, OFFSETOF_INODE_INO);
	key->generation = generation_of(inode, head);
	key->device = it.device;
	void *below = bottom_of(inode, &it);
	if (below != inode)
		key->generation = READ(u32, below, OFFSETOF_INODE_GENERATION);
	key->layer = node_of(below, &it, key->generation);
	if (below != inode)
		key->layer = key->layer * 0x9e3779b9 ^ it.device;
	else
		key->device = it.device;
#ifdef OFFSETOF_NFS_INODE_HANDLE
	if (it.magic == NFS_MAGIC) /* last, where least else is to be kept */
		key->layer ^= handle_of(below);
#endif
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
	for (u32 n = 0; n < LAYERS_MAX; n++) {
		void *layer = layers + n * SIZEOF_OVL_SB;

		/* Hide `count` from the compiler: it would merge both bounds into one that the verifier of
		 * Linux 6.1 cannot follow. */
		asm volatile("" : "+r"(count));
		if (n >= count)
			break;
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
#ifdef OFFSETOF_CEPH_INODE_SNAP
	if (magic == CEPH_MAGIC && snapshot_of(inode) != CEPH_NOSNAP)
		return DEVICE_UNKNOWN; /* a snapshot shows one of its own */
#endif
	return key->device;
}

#endif
