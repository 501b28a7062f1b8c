/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What this root can do. Where the root is writable the file system is tried out on nameless files
 * (O_TMPFILE), which leave no trace and change no time of the root; what cannot be tried that way
 * is taken from a table of kinds of file systems, and an unknown kind is claimed to do only what
 * was seen.
 *
 * Magic numbers of file systems: linux/magic.h, and statfs(2) for those it lacks.
 */
#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define LOCAL_FS_NTFS3 0x7366746E
#define LOCAL_FS_ZFS 0x2FC12FC1
#define LOCAL_FS_BCACHEFS 0xCA451A4E
#define LOCAL_FS_SMB1 0xFF534D42
#define LOCAL_FS_CEPH 0x00C36400
#define LOCAL_FS_GFS2 0x01161970
#define LOCAL_FS_LUSTRE 0x0BD00BD0
#define LOCAL_FS_VBOX 0x786F4256

/* --- the table --- */

enum {
    CAPS_NAMES = DRV_CAP_HARDLINK | DRV_CAP_SYMLINK | DRV_CAP_SPECIAL | DRV_CAP_RENAME_NOREPLACE |
                 DRV_CAP_RENAME_EXCHANGE | DRV_CAP_CASE_SENSITIVE,
    CAPS_DURABLE = DRV_CAP_DURABLE_FILES | DRV_CAP_DURABLE_NAMES,
    CAPS_STABLE = DRV_CAP_STABLE_INO | DRV_CAP_STABLE_CTIME,
    CAPS_UNIX = CAPS_NAMES | CAPS_DURABLE | CAPS_STABLE | DRV_CAP_OWNER | DRV_CAP_MODE,
    CAPS_TRIED = DRV_CAP_XATTR | DRV_CAP_SPARSE | DRV_CAP_NS_TIMES,
};

struct fs_kind {
    unsigned long magic;
    const char *name;
    uint32_t caps;    /* that cannot be tried out */
    uint32_t assumed; /* where nothing may be written, so nothing can be tried */
    int64_t grain;    /* of its times, ns, likewise */
};

static const struct fs_kind fs_kinds[] = {
    {EXT4_SUPER_MAGIC, "ext4", CAPS_UNIX, CAPS_TRIED, 1},
    {XFS_SUPER_MAGIC, "xfs", CAPS_UNIX, CAPS_TRIED, 1},
    {BTRFS_SUPER_MAGIC, "btrfs", CAPS_UNIX, CAPS_TRIED | DRV_CAP_REFLINK, 1},
    {LOCAL_FS_BCACHEFS, "bcachefs", CAPS_UNIX, CAPS_TRIED | DRV_CAP_REFLINK, 1},
    {F2FS_SUPER_MAGIC, "f2fs", CAPS_UNIX, CAPS_TRIED, 1},
    {LOCAL_FS_ZFS, "zfs", CAPS_UNIX & ~DRV_CAP_RENAME_EXCHANGE, CAPS_TRIED, 1},
    {TMPFS_MAGIC, "tmpfs", CAPS_UNIX, CAPS_TRIED, 1},
    {OVERLAYFS_SUPER_MAGIC, "overlay", CAPS_NAMES | CAPS_DURABLE | DRV_CAP_OWNER | DRV_CAP_MODE,
        CAPS_TRIED, 1},
    {NFS_SUPER_MAGIC, "nfs",
        CAPS_STABLE | CAPS_DURABLE | DRV_CAP_HARDLINK | DRV_CAP_SYMLINK | DRV_CAP_SPECIAL |
            DRV_CAP_CASE_SENSITIVE | DRV_CAP_OWNER | DRV_CAP_MODE,
        0, 1000000},
    {MSDOS_SUPER_MAGIC, "vfat", CAPS_DURABLE | DRV_CAP_RENAME_NOREPLACE, 0, 2 * MRMR_NS_PER_S},
    {EXFAT_SUPER_MAGIC, "exfat", CAPS_DURABLE | DRV_CAP_RENAME_NOREPLACE, 0, 10000000},
    {LOCAL_FS_NTFS3, "ntfs3", CAPS_DURABLE | DRV_CAP_RENAME_NOREPLACE, DRV_CAP_SPARSE, 100},
    {SMB2_SUPER_MAGIC, "cifs", DRV_CAP_RENAME_NOREPLACE, 0, 100},
    {LOCAL_FS_SMB1, "cifs", DRV_CAP_RENAME_NOREPLACE, 0, 100},
    {FUSE_SUPER_MAGIC, "fuse", 0, 0, 2 * MRMR_NS_PER_S},
};
static const struct fs_kind fs_unknown = {0, "", 0, 0, 2 * MRMR_NS_PER_S};

static const struct fs_kind *fs_kind_of(unsigned long magic)
{
    for (size_t i = 0; i < sizeof fs_kinds / sizeof *fs_kinds; i++)
        if (fs_kinds[i].magic == magic)
            return &fs_kinds[i];
    return &fs_unknown;
}

/* A network, a cluster or a FUSE file system: others change it, and no event tells of that. One on a
 * disk of this machine (fuseblk, as NTFS often is) has the disk's device number. */
static bool is_shared(unsigned long magic, dev_t dev)
{
    static const unsigned long shared[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, SMB2_SUPER_MAGIC,
        LOCAL_FS_SMB1, V9FS_MAGIC, LOCAL_FS_CEPH, AFS_SUPER_MAGIC, AFS_FS_MAGIC, CODA_SUPER_MAGIC,
        OCFS2_SUPER_MAGIC, LOCAL_FS_GFS2, LOCAL_FS_LUSTRE, LOCAL_FS_VBOX};
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (shared[i] == magic)
            return true;
    return magic == FUSE_SUPER_MAGIC && major(dev) == 0;
}

/* --- trying out on nameless files --- */

/* The coarsest of the known grains that would have turned `set` into `kept`. */
static int64_t grain_of(int64_t set, int64_t kept)
{
    static const int64_t grains[] = {1, 100, 1000, 1000000, 10000000, MRMR_NS_PER_S};
    for (size_t i = 0; i < sizeof grains / sizeof *grains; i++)
        if (set - set % grains[i] == kept)
            return grains[i];
    return 2 * MRMR_NS_PER_S;
}

/* The grain in which a file's times are kept. */
static int64_t try_times(int fd)
{
    const struct timespec ts = {.tv_sec = 1234567891, .tv_nsec = 987654321};
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, ts};
    struct stat st;
    if (futimens(fd, times) < 0 || fstat(fd, &st) < 0)
        return 2 * MRMR_NS_PER_S;
    return grain_of(mrmr_clock_from_timespec(&ts), mrmr_clock_from_timespec(&st.st_mtim));
}

static bool try_xattr(int fd)
{
    return fsetxattr(fd, "user.mrmr.try", "1", 1, 0) == 0;
}

static bool try_mode(int fd)
{
    struct stat st;
    return fchmod(fd, 0751) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0751;
}

static bool try_sparse(int fd)
{
    return ftruncate(fd, 1 << 20) == 0 && lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

static bool try_clone(int root_fd, int src_fd)
{
    mrmr_autoclose int dst_fd = openat(root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return dst_fd >= 0 && ioctl(dst_fd, FICLONE, src_fd) == 0;
}

/* What is seen on a nameless file; outputs stay as they are if none can be made here. */
static void try_out(int root_fd, uint32_t *ret_caps, int64_t *ret_grain)
{
    mrmr_autoclose int fd = openat(root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    *ret_grain = try_times(fd);
    *ret_caps = (*ret_grain == 1 ? DRV_CAP_NS_TIMES : 0) | (try_xattr(fd) ? DRV_CAP_XATTR : 0) |
                (try_mode(fd) ? DRV_CAP_MODE : 0) | (try_sparse(fd) ? DRV_CAP_SPARSE : 0) |
                (try_clone(root_fd, fd) ? DRV_CAP_REFLINK : 0);
}

/* --- the identity of the file system --- */

/* Kernel interfaces that Debian 12's headers do not name yet, or that only xfslibs-dev names. */
struct local_fsuuid2 { /* linux/fs.h: struct fsuuid2, Linux 6.9 */
    uint8_t size;
    uint8_t uuid[16];
};
#define LOCAL_IOC_GETFSUUID _IOR(0x15, 0, struct local_fsuuid2)

struct local_xfs_geometry { /* xfs_fs.h: struct xfs_fsop_geom_v1 */
    uint32_t block, rt_extent, ag_blocks, ag_count, log_blocks, sector, inode, inode_max;
    uint64_t data_blocks, rt_blocks, rt_extents, log_start;
    uint8_t uuid[16];
    uint32_t stripe_unit, stripe_width;
    int32_t version;
    uint32_t flags, log_sector, rt_sector, dir_block;
};
#define LOCAL_XFS_GEOMETRY _IOR('X', 100, struct local_xfs_geometry)
_Static_assert(sizeof(struct local_xfs_geometry) == 112, "the kernel's size of it");

static void print_hex(char *text, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sprintf(text + 2 * i, "%02x", ((const uint8_t *)data)[i]);
}

/* The UUID of the file system; where it has none, what statfs derives from one. XFS derives its
 * from the device number, which changes from mount to mount, so there the UUID is asked for another
 * way. */
static void identify(struct local *local, const struct statfs *fs, ino_t root_ino)
{
    struct local_fsuuid2 own = {0};
    struct local_xfs_geometry xfs = {0};
    char id[33] = "";
    if (local->sync_fd >= 0 && ioctl(local->sync_fd, LOCAL_IOC_GETFSUUID, &own) == 0 &&
        own.size == 16)
        print_hex(id, own.uuid, sizeof own.uuid);
    else if (fs->f_type == XFS_SUPER_MAGIC && local->sync_fd >= 0 &&
             ioctl(local->sync_fd, LOCAL_XFS_GEOMETRY, &xfs) == 0)
        print_hex(id, xfs.uuid, sizeof xfs.uuid);
    else if (fs->f_type != XFS_SUPER_MAGIC)
        print_hex(id, &fs->f_fsid, sizeof fs->f_fsid);
    if (strspn(id, "0") == strlen(id)) /* none, or all zeros: this kind has no identity */
        return;
    snprintf(local->info.fs_id, sizeof local->info.fs_id, "%s-%s-%llu", local->info.fs_name, id,
        (unsigned long long)root_ino);
}

/* --- the whole --- */

static bool is_casefolded(const struct local *local)
{
    int flags = 0;
    return local->sync_fd >= 0 && ioctl(local->sync_fd, FS_IOC_GETFLAGS, &flags) == 0 &&
           (flags & FS_CASEFOLD_FL);
}

/* How far apart two changes must be to get different times: the clock that file systems stamp with
 * ticks coarsely. */
static int64_t clock_grain(void)
{
    struct timespec ts;
    return clock_getres(CLOCK_REALTIME_COARSE, &ts) < 0 ? 10000000 : mrmr_clock_from_timespec(&ts);
}

static uint32_t find_caps(const struct local *local, const struct fs_kind *kind,
    const struct statfs *fs, int64_t *ret_grain)
{
    uint32_t caps = kind->caps, tried = kind->assumed;
    int64_t grain = kind->grain;
    bool writable =
        !(fs->f_flags & ST_RDONLY) && faccessat(local->root_fd, ".", W_OK | X_OK, AT_EACCESS) == 0;
    if (writable)
        caps |= DRV_CAP_WRITABLE;
    if (writable)
        try_out(local->root_fd, &tried, &grain);
    if (is_casefolded(local))
        caps &= ~(uint32_t)DRV_CAP_CASE_SENSITIVE;
    *ret_grain = grain;
    return caps | tried;
}

mrmr_err local_probe(struct local *local)
{
    struct statfs fs;
    struct statx sx;
    if (fstatfs(local->root_fd, &fs) < 0 ||
        statx(local->root_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &sx) < 0)
        return mrmr_fail_errno(errno, "look at drive", local->root);
    const unsigned long magic = (unsigned long)fs.f_type & 0xffffffffUL;
    const struct fs_kind *kind = fs_kind_of(magic);
    local->shared = is_shared(magic, (dev_t)local->dev);
    struct drv_info *info = &local->info;
    if (kind == &fs_unknown)
        snprintf(info->fs_name, sizeof info->fs_name, "%lx", (unsigned long)fs.f_type);
    else
        snprintf(info->fs_name, sizeof info->fs_name, "%s", kind->name);
    int64_t kept;
    const int64_t tick = clock_grain();
    info->caps =
        find_caps(local, kind, &fs, &kept) | (sx.stx_mask & STATX_BTIME ? DRV_CAP_BTIME : 0);
    info->caps |= local->shared ? 0 : DRV_CAP_OUR_CLOCK;
    info->time_grain = kept > tick ? kept : tick;
    info->is_mountpoint = sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
    identify(local, &fs, sx.stx_ino);
    return MRMR_OK;
}
