/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_tree_hang.h"
#include "pool/drive/hung.h"

#include <time.h>

void hang_begin(struct hang *hang)
{
    sem_init(&hang->begun, 0, 0);
    sem_init(&hang->go_on, 0, 0);
}

void hang_end(struct hang *hang)
{
    sem_destroy(&hang->begun);
    sem_destroy(&hang->go_on);
}

void hang_here(void *arg, enum drv_fault_op op, const char *path)
{
    struct hang *hang = arg;
    (void)op, (void)path;
    sem_post(&hang->begun);
    sem_wait(&hang->go_on);
}

void hang_at(
    struct world *w, struct hang *hang, size_t drive, uint32_t ops, const char *prefix, bool late)
{
    const struct drv_fault_rule rule = {.ops = ops,
        .prefix = prefix,
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .late = late,
        .hook = hang_here,
        .arg = hang};
    rig_ok(drv_fault_add(w->rig->drive[drive].fault, &rule, NULL));
}

void hang_ends(struct world *w, struct hang *hang, size_t drive)
{
    sem_post(&hang->go_on);
    while (pool_drive_hangs(w->rig->pool, w->rig->pool->drives[drive]))
        moment();
}

void moment(void)
{
    const struct timespec wait = {.tv_nsec = 10 * 1000 * 1000};
    nanosleep(&wait, NULL);
}

void wait_live(struct world *w, size_t drive)
{
    for (unsigned i = 0; i < 3000 && !tree_live(&w->tree->drive[drive]); i++)
        moment();
    assert_true(tree_live(&w->tree->drive[drive]));
}
