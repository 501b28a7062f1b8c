/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who makes a request. Root serves many users, and what each makes is his, with his groups; a user's
 * own mount makes everything his who runs it.
 */
#include "fuse/mfs.h"

_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "groups are passed on as they are");

enum { GROUPS_FIRST = 64 };

/* The kernel does not say them: libfuse reads them of the process. One that is gone, or that this
 * process cannot see, has none. */
static mrmr_err groups_of(fuse_req_t req, struct mfs_caller *who)
{
    size_t room = GROUPS_FIRST;
    for (;;) {
        free(who->groups);
        who->groups = calloc(room, sizeof *who->groups);
        if (!who->groups)
            return mrmr_nomem();
        int n = fuse_req_getgroups(req, (int)room, (gid_t *)who->groups);
        if (n <= (int)room) {
            who->caller.groups = who->groups;
            who->caller.ngroups = n > 0 ? (size_t)n : 0;
            return MRMR_OK;
        }
        room = (size_t)n;
    }
}

mrmr_err mfs_caller_of(fuse_req_t req, struct mfs_caller *ret_who)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    *ret_who = (struct mfs_caller){
        .caller = {.uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask & 07777}};
    return geteuid() == 0 && ctx->uid != 0 ? groups_of(req, ret_who) : MRMR_OK;
}

void mfs_caller_free(struct mfs_caller *who)
{
    free(who->groups);
    who->groups = NULL;
}

/* Who opened it, not who writes: pages of a mapping are written by the kernel, for nobody. */
void mfs_act_as_caller(fuse_req_t req, struct pool_tree_file *file)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    const struct pool_caller caller = {.uid = ctx->uid, .gid = ctx->gid};
    if (geteuid() == 0 && ctx->uid != 0)
        pool_tree_file_act(file, &caller);
}
