/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Conflicts: paths that lie on several drives and are not folders everywhere. Only folders that lie
 * on several drives are entered: a folder that one drive alone has holds no conflict. Memory: the
 * children of one set of folders, and 8 bytes a drive for each shared folder that waits.
 */
#include "pool/conflict.h"
#include "pool/merge.h"

#include <string.h>

/* Sets of folder ids that wait, each preceded by its size. */
struct conflict_stack {
    int64_t *id;
    size_t n, room;
};

static mrmr_err stack_push(struct conflict_stack *stack, int64_t id)
{
    if (stack->n == stack->room) {
        size_t room = stack->room ? 2 * stack->room : 256;
        int64_t *grown = reallocarray(stack->id, room, sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        stack->id = grown;
        stack->room = room;
    }
    stack->id[stack->n++] = id;
    return MRMR_OK;
}

/* What stands under one name: push the folders if there are several, tell whether it is a conflict.
 */
static mrmr_err conflict_entry(
    const struct pool_merge *merge, struct conflict_stack *stack, bool *ret_conflict)
{
    size_t folders = 0;
    for (size_t i = 0; i < merge->nfound; i++)
        folders += merge->found[i].type == META_DIR;
    *ret_conflict = merge->nfound > 1 && folders < merge->nfound;
    if (folders < 2)
        return MRMR_OK;
    for (size_t i = 0; i < merge->nfound; i++)
        if (merge->found[i].type == META_DIR)
            MRMR_TRY(stack_push(stack, merge->found[i].id));
    return stack_push(stack, (int64_t)folders);
}

static mrmr_err conflict_folder(
    struct pool *pool, struct conflict_stack *stack, uint64_t *conflicts)
{
    __attribute__((cleanup(pool_merge_free))) struct pool_merge merge = {0};
    size_t folders = (size_t)stack->id[--stack->n];
    stack->n -= folders;
    MRMR_TRY(pool_merge_start(pool, stack->id + stack->n, folders, &merge));
    while (pool_merge_next(&merge)) {
        bool conflict;
        MRMR_TRY(conflict_entry(&merge, stack, &conflict));
        *conflicts += conflict;
    }
    return MRMR_OK;
}

mrmr_err pool_conflicts(struct pool *pool, uint64_t *ret_conflicts)
{
    struct conflict_stack stack = {0};
    uint64_t conflicts = 0;
    size_t roots = 0;
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && i < pool->ndrives; i++) {
        if (pool->drives[i]->meta.state == META_DRIVE_RETIRED)
            continue;
        err = stack_push(&stack, pool->drives[i]->meta.root);
        roots++;
    }
    if (!err)
        err = stack_push(&stack, (int64_t)roots);
    while (!err && stack.n)
        err = conflict_folder(pool, &stack, &conflicts);
    free(stack.id);
    if (!err)
        *ret_conflicts = conflicts;
    return err;
}
