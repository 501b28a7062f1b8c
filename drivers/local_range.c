/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Parts of open files of the local driver: room and holes, copies and shared bytes.
 */
#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

/* The most that one copy_file_range is asked for: below the kernel's own bound for one call. */
#define LOCAL_COPY_MOST (UINT64_C(1) << 30)

static mrmr_err change_range(struct local_file *f, int how, uint64_t offset, uint64_t size)
{
    int rc;
    LOCAL_ACT("change range", f->path);
    do
        rc = fallocate(f->fd, how, (off_t)offset, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? local_file_fail(f, errno, "change range") : MRMR_OK;
}

mrmr_err local_file_allocate(struct drv_file *file, uint64_t size)
{
    return size ? change_range((struct local_file *)file, 0, 0, size) : MRMR_OK;
}

mrmr_err local_file_range(
    struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size)
{
    static const int kernel_modes[] = {
        [DRV_RANGE_ALLOCATE] = 0,
        [DRV_RANGE_ALLOCATE_KEEP] = FALLOC_FL_KEEP_SIZE,
        [DRV_RANGE_PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        [DRV_RANGE_ZERO] = FALLOC_FL_ZERO_RANGE,
        [DRV_RANGE_ZERO_KEEP] = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
    };
    return change_range((struct local_file *)file, kernel_modes[what], offset, size);
}

mrmr_err local_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied)
{
    struct local_file *src = (struct local_file *)from, *dst = (struct local_file *)to;
    const size_t most = (size_t)(size < LOCAL_COPY_MOST ? size : LOCAL_COPY_MOST);
    loff_t at = (loff_t)from_offset, onto = (loff_t)to_offset;
    ssize_t n;
    LOCAL_ACT("copy", dst->path);
    do
        n = copy_file_range(src->fd, &at, dst->fd, &onto, most, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return local_file_fail(dst, errno, "copy");
    *ret_copied = (uint64_t)n;
    return MRMR_OK;
}

mrmr_err local_clone_fail(const struct local *local, int err, const char *from)
{
    /* btrfs and XFS say EINVAL for files of kinds that cannot share (a swap file, no checksums on
     * one side only), and for ranges that are not whole blocks. */
    return local_fail(local, err == EINVAL ? EOPNOTSUPP : err, "clone", from);
}

mrmr_err local_file_clone_range(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size)
{
    struct local_file *src = (struct local_file *)from, *dst = (struct local_file *)to;
    const struct file_clone_range range = {
        .src_fd = src->fd,
        .src_offset = from_offset,
        .src_length = size,
        .dest_offset = to_offset,
    };
    LOCAL_ACT("clone", dst->path);
    if (ioctl(dst->fd, FICLONERANGE, &range) == 0)
        return MRMR_OK;
    return local_clone_fail((struct local *)from->drv, errno, src->path);
}
