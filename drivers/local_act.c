/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Acting as another user, for one op. fsuid, fsgid and the supplementary groups belong to a thread;
 * libc's setgroups changes them for every thread, so the system call is made without it. A fsuid
 * other than 0 takes the capabilities over files away, but not the others: with those, a user could
 * set attributes that are the system's, write into the room kept for root, and exceed a quota. So
 * the thread has no capability at all meanwhile. They stay permitted, and are taken up again.
 *
 * Bytes are written so as well, but for the right to leave set-id bits alone. The room that ext4 keeps is for fsuid 0 as much as for
 * CAP_SYS_RESOURCE, so both must go; a quota is the file's owner's, and holds for whoever has not that
 * capability. Group and groups matter to neither (ext4's reserve is never for group 0), so they stay:
 * seven system calls instead of seventeen. Nor can a thread stay the user until the next op: most of
 * what it does then opens paths as the process.
 *
 * The kernel makes a process that does this undumpable; its own /proc/self/fd stays open to it.
 */
#include "drivers/act.h"
#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

#ifdef SYS_setgroups32
#define LOCAL_SETGROUPS SYS_setgroups32
#else
#define LOCAL_SETGROUPS SYS_setgroups
#endif

_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "groups are given to the kernel as they are");

static mrmr_err groups_read(struct local_act *act)
{
    int n = getgroups(0, NULL);
    act->groups = n > 0 ? calloc((size_t)n, sizeof *act->groups) : NULL;
    if (n > 0 && !act->groups)
        return mrmr_nomem();
    n = n > 0 ? getgroups(n, act->groups) : 0;
    act->ngroups = n > 0 ? (size_t)n : 0;
    return MRMR_OK;
}

static bool caps_read(struct local_act *act)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &head, act->caps) == 0;
}

/* The capabilities of before, or none in effect; but who writes bytes keeps the one over set-id bits,
 * which are taken away by whoever knows that a user writes, and that it is no page of a mapping. */
static bool caps_set(const struct local_act *act, bool effective)
{
    const uint32_t keeps = act->grouped ? 0 : CAP_TO_MASK(CAP_FSETID);
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        caps[i] = act->caps[i];
        if (!effective)
            caps[i].effective &= i == CAP_TO_INDEX(CAP_FSETID) ? keeps : 0;
    }
    return syscall(SYS_capset, &head, caps) == 0;
}

/* False: the kernel refused. Neither call says so itself; an id of -1 changes nothing and tells. */
static bool set_uid(uint32_t uid)
{
    setfsuid(uid);
    return (uint32_t)setfsuid((uid_t)-1) == uid;
}

static bool set_gid(uint32_t gid)
{
    setfsgid(gid);
    return (uint32_t)setfsgid((gid_t)-1) == gid;
}

void local_act_end(struct local_act *act)
{
    const int saved = errno;
    if (act->acting) {
        /* A process may always go back to these: only the kernel's memory may be short. */
        while (!set_uid(act->uid) || (act->grouped && !set_gid(act->gid)) || !caps_set(act, true))
            sched_yield();
        /* Should this fail, the thread is root with other groups, which opens and closes nothing. */
        if (act->grouped)
            syscall(LOCAL_SETGROUPS, act->ngroups, act->groups);
    }
    free(act->groups);
    *act = (struct local_act){0};
    errno = saved;
}

/* On failure local_act_end() undoes what was done. */
static bool act_begin(struct local_act *act, const struct drv_act *as)
{
    if (!caps_read(act) || (act->grouped && syscall(LOCAL_SETGROUPS, as->ngroups, as->groups) < 0))
        return false;
    act->acting = true;
    return (!act->grouped || set_gid(as->gid)) && set_uid(as->uid) &&
           (as->uid == 0 || caps_set(act, false));
}

/* The process is that already, as far as it matters. */
static bool act_is_own(const struct drv_act *as)
{
    return !as->lost && as->uid == 0 && (as->bytes || as->gid == getegid());
}

mrmr_err local_act_begin(const char *op, const char *path, struct local_act *ret_act)
{
    const struct drv_act *as = drv_act_own();
    if (!as || geteuid() != 0 || act_is_own(as))
        return MRMR_OK;
    if (as->lost)
        return mrmr_nomem();
    struct local_act act = {.grouped = !as->bytes};
    if (act.grouped) {
        act.gid = getegid();
        MRMR_TRY(groups_read(&act));
    }
    if (act_begin(&act, as)) {
        *ret_act = act;
        return MRMR_OK;
    }
    local_act_end(&act);
    mrmr_err err = mrmr_fail(
        MRMR_DENIED, "the system does not let this process act as user %u", (unsigned)as->uid);
    return mrmr_err_path(mrmr_err_op(err, op), path);
}
