/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_away_world.h"

/* --- what is left of it --- */

size_t all_records(struct world *w)
{
    return records(w, false) + records(w, true);
}

static mrmr_err count_entries(const struct pool_entry *entry, void *arg)
{
    (void)entry;
    (*(unsigned *)arg)++;
    return MRMR_OK;
}

mrmr_err where(struct world *w, const char *path)
{
    unsigned n = 0;
    return pool_where(w->rig->pool, path, count_entries, &n);
}

/* --- a drive that is given up --- */

/* One more drive than the world has; the first one goes away under the tree. */
void begin_away(struct world *w, enum rig_kind kind, uint64_t seed)
{
    begin(w, kind, seed);
    close_tree(w);
    rig_put(w->rig, 0, "folder/in/one", RIG_MIB + 1000);
    rig_put(w->rig, 0, "folder/two", 3000);
    rig_put(w->rig, 0, "folder/empty", 0);
    rig_put(w->rig, 0, "kept", 2 * RIG_MIB);
    rig_put(w->rig, 0, "one", 4000);
    rig_put(w->rig, 0, "another", 5000);
    rig_put(w->rig, 0, "over", 6000);
    rig_put(w->rig, 0, "deep/below/it", 7000);
    rig_protect_all(w->rig);
    rig_add_drive(w->rig); /* empty */
    open_tree(w);
}

mrmr_err try_rebuild(struct world *w, const char *onto, const char *path)
{
    struct pool_job job = rig_job(w->rig);
    const struct pool_rebuild_options options = {.drive = "d0", .onto = onto, .path = path};
    struct pool_rebuild_report report;
    return pool_rebuild(w->rig->pool, &job, &options, &report);
}

/* The rig finds the rest on whichever drive it is now. */
void moved_off(struct world *w)
{
    for (size_t i = 0; i < w->rig->files; i++)
        for (unsigned d = 1; w->rig->file[i].there && w->rig->file[i].drive == 0 && d < w->rig->n;
             d++)
            if (rig_holds(w->rig, d, w->rig->file[i].path))
                w->rig->file[i].drive = d;
}

void all_is_well(struct world *w)
{
    moved_off(w);
    rig_protect_all(w->rig);
    rig_check(w->rig);
    rig_check_originals(w->rig);
    rig_verify(w->rig, true);
    rig_destroy(w->rig);
}
