/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Passthrough: the kernel reads and writes files on their drives without asking us. Which ones it may
 * is the tree's to say (pool_tree_file_direct); here the kernel is told.
 *
 * The kernel's rules. What it is given is a number that stands for an open file of the drive; it opens
 * that anew for each open file of ours, with the flags of that one (O_APPEND, O_DIRECT), and with the
 * rights that the thread had which asked for the number. All open files of an inode use the same
 * number, or none does, and keep_cache is not allowed with it. A number is given back once its last file
 * was released: by then the kernel uses it no more, but for mappings, which hold what lies below.
 *
 * Rights. They are the first opener's, without root's capabilities: so the room that a file system
 * keeps for root, quotas, and set-id bits that go with a write are his. Whoever opens the file while he
 * has it open writes with them, too. Only CAP_SYS_ADMIN is left, without which no number is had.
 */
#include "fuse/mfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

enum { KERNEL_MAJOR = 6, KERNEL_MINOR = 9 };

#if MFS_HAS_PASSTHROUGH

#include <linux/capability.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

typedef struct __user_cap_data_struct caps_set[_LINUX_CAPABILITY_U32S_3];

static bool caps_call(long call, caps_set caps)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(call, &head, caps) == 0;
}

static bool acts_as(uint32_t uid, uint32_t gid)
{
    setfsgid(gid);
    setfsuid(uid);
    return (uint32_t)setfsgid((gid_t)-1) == gid && (uint32_t)setfsuid((uid_t)-1) == uid;
}

/* The process may always go back to what it is: only the kernel's memory may be short. */
static void as_before(caps_set caps)
{
    while (!acts_as(geteuid(), getegid()) || !caps_call(SYS_capset, caps))
        sched_yield();
}

static int number_of(fuse_req_t req, int descriptor)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    caps_set caps, few;
    if (!caps_call(SYS_capget, caps))
        return 0;
    memcpy(few, caps, sizeof few);
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        few[i].effective = i == CAP_TO_INDEX(CAP_SYS_ADMIN) ? CAP_TO_MASK(CAP_SYS_ADMIN) : 0;
    int number = 0;
    if (acts_as(ctx->uid, ctx->gid) && caps_call(SYS_capset, few))
        number = fuse_passthrough_open(req, descriptor);
    as_before(caps);
    return number;
}

/* The reason is libfuse's to log; that files are served the ordinary way is said once. */
static int give(int descriptor, void *arg)
{
    static atomic_bool told;
    errno = 0;
    int number = number_of(arg, descriptor);
    if (number > 0)
        return number;
    if (!atomic_exchange(&told, true))
        mrmr_log(MRMR_LOG_WARN,
            "passthrough: the kernel does not take a file (%s): it is served the ordinary way, as "
            "others "
            "will be without a word",
            errno ? strerror(errno) : "no reason given");
    return 0;
}

void mfs_direct_init(struct mfs *mfs, struct fuse_conn_info *conn)
{
    if (!mfs->passthrough)
        return;
    if (conn->capable & FUSE_CAP_PASSTHROUGH) {
        conn->want |= FUSE_CAP_PASSTHROUGH;
        return;
    }
    mfs->passthrough = false;
    mfs->refused = true;
    fuse_session_exit(mfs->session);
}

void mfs_direct_open(fuse_req_t req, struct pool_tree_file *file, struct fuse_file_info *fi)
{
    const struct mfs *mfs = fuse_req_userdata(req);
    if (!mfs->passthrough)
        return;
    fi->backing_id = pool_tree_file_direct(file, give, req);
    if (fi->backing_id)
        fi->keep_cache = 0;
}

void mfs_direct_close(const struct mfs *mfs, struct pool_tree_file *file)
{
    int number = mfs->passthrough ? pool_tree_file_undirect(file) : 0;
    if (number && ioctl(fuse_session_fd(mfs->session), FUSE_DEV_IOC_BACKING_CLOSE, &number) < 0)
        mrmr_log(MRMR_LOG_WARN, "passthrough: the kernel keeps a file open: %s", strerror(errno));
    pool_tree_file_close(file);
}

#else

void mfs_direct_init(struct mfs *mfs, struct fuse_conn_info *conn)
{
    (void)mfs, (void)conn; /* mfs_direct_check refused */
}

void mfs_direct_open(fuse_req_t req, struct pool_tree_file *file, struct fuse_file_info *fi)
{
    (void)req, (void)file, (void)fi;
}

void mfs_direct_close(const struct mfs *mfs, struct pool_tree_file *file)
{
    (void)mfs;
    pool_tree_file_close(file);
}

#endif

/* --- where it can be had --- */

static mrmr_err refuse(mrmr_err err, const char *next)
{
    return mrmr_err_hint(err, "%s, or mount without it", next);
}

static bool kernel_is_old(void)
{
    unsigned major, minor;
    struct utsname name;
    return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
           (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR));
}

mrmr_err mfs_direct_refused(void)
{
    return refuse(mrmr_fail(MRMR_UNSUPPORTED, "passthrough is not offered by this kernel"),
        "take a kernel of 6.9 or later that was built with CONFIG_FUSE_PASSTHROUGH");
}

mrmr_err mfs_direct_check(void)
{
    if (!MFS_HAS_PASSTHROUGH)
        return refuse(mrmr_fail(MRMR_UNSUPPORTED,
                          "passthrough takes libfuse 3.17, and this program was built with %d.%d",
                          FUSE_MAJOR_VERSION, FUSE_MINOR_VERSION),
            "use a system that has it (Debian 13)");
    if (geteuid() != 0)
        return refuse(mrmr_fail(MRMR_DENIED,
                          "passthrough is for root alone: the kernel gives it to nobody else"),
            "mount the pool as root");
    return kernel_is_old() ? mfs_direct_refused() : MRMR_OK;
}
