/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool_catalog_world.h"

#include "catalog_same.h"
#include "pool/catalog/catalog_format.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>

static struct mrmr_cancel no_cancel;
const struct pool_job catalog_job = {.cancel = &no_cancel};

const char *catalog_path(struct world *w)
{
    return world_path(w, "pool/catalog.sqlite");
}

void catalog_copy_now(struct world *w)
{
    assert_ok(pool_catalog_copy(w->pool, &catalog_job, POOL_COPIES_ALL, NULL));
}

/* A change that matters, in a large table and in a small one. */
void catalog_change(struct world *w)
{
    static unsigned serial;
    struct pool_drive *drive = w->pool->drives[0];
    char name[32];
    snprintf(name, sizeof name, "it's \xff%u", serial++);
    struct meta_node node = {.drive = drive->meta.id, .type = META_DIR, .mode = 0755, .nlink = 1};
    assert_ok(meta_node_add(w->pool->meta, &node, drive->meta.root, name));
    assert_ok(meta_attr_set(w->pool->meta, node.id, name, strlen(name)));
    assert_ok(meta_set(w->pool->meta, "exclude", name));
}

struct catalog_has catalog_has(struct world *w, const char *drive)
{
    struct catalog_has h = {0};
    char folder[256];
    snprintf(folder, sizeof folder, "%s/.mrmr/catalog", world_path(w, drive));
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct pool_catalog_name name;
        if (e->d_name[0] == '.')
            continue;
        if (!pool_catalog_name_parse(e->d_name, &name)) {
            h.others++;
            continue;
        }
        char *path = name.log ? h.log_path : h.base_path;
        *(name.log ? &h.logs : &h.bases) += 1;
        if (!name.log && name.sequence > h.base)
            h.base = name.sequence;
        if (name.sequence > h.upto)
            h.upto = name.sequence;
        if (name.sequence == (name.log ? h.upto : h.base))
            snprintf(path, 600, "%s/%s", folder, e->d_name);
    }
    if (dir)
        closedir(dir);
    return h;
}

void catalog_assert_has(struct world *w, const char *drive, unsigned bases, unsigned logs)
{
    struct catalog_has h = catalog_has(w, drive);
    if (h.bases != bases || h.logs != logs || h.others)
        fail_msg("%s has %u bases, %u logs, %u others; wanted %u and %u", drive, h.bases, h.logs,
            h.others, bases, logs);
}

void catalog_run(const char *command)
{
    int status = system(command);
    if (status)
        fail_msg("%s: %d", command, status);
}

/* As the head of each copy and docs/FORMAT.md tell a person to. */
static void restore_by_hand(struct world *w, const char *drive, const char *to)
{
    char command[3000];
    struct catalog_has h = catalog_has(w, drive);
    unlink(to);
    snprintf(command, sizeof command,
        "cd '%s/.mrmr/catalog' && LC_ALL=C zcat base-%012lld.sql.gz $(ls log-%012lld-*.sql.gz "
        "2>/dev/null) | sqlite3 -bail '%s'",
        world_path(w, drive), (long long)h.base, (long long)h.base, to);
    catalog_run(command);
}

mrmr_err catalog_restore(struct world *w, const char *uri)
{
    world_remove(world_path(w, "again"));
    return pool_catalog_restore(world_path(w, "again"), uri);
}

const char *catalog_again(struct world *w)
{
    return world_path(w, "again/catalog.sqlite");
}

void catalog_assert_restores(struct world *w, const char *drive)
{
    char by_hand[256];
    snprintf(by_hand, sizeof by_hand, "%s", world_path(w, "by-hand.sqlite"));
    restore_by_hand(w, drive, by_hand);
    catalog_assert_same(catalog_path(w), by_hand);
    assert_ok(catalog_restore(w, world_path(w, drive)));
    catalog_assert_same(catalog_path(w), catalog_again(w));
}

static char last_event[512];

static mrmr_err event_seen(const struct meta_event *event, void *arg)
{
    (void)arg;
    snprintf(last_event, sizeof last_event, "%s: %s", event->kind, event->text);
    return MRMR_OK;
}

/* The newest event of a restored catalog. */
const char *catalog_event(struct world *w)
{
    struct meta *meta = NULL;
    assert_ok(meta_open(catalog_again(w), META_READONLY, &meta));
    assert_ok(meta_events(meta, 0, 1, event_seen, NULL));
    meta_close(meta);
    return last_event;
}
