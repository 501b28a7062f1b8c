/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Random things happen to a tree between scans. After each, the catalog must have the same tree,
 * and every leaf with data must be exposed, or live with the digest of the very bytes; a file that
 * kept its inode must have kept its node. MRMR_SEED repeats a run.
 */
#include "pool_scan_world.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 40, OPS = 12, MOST = 60 };

struct model {
    struct scan_world *w;
    uint64_t random;
    char *file[MOST], *folder[MOST]; /* paths; NULL: free */
    unsigned made;
};

/* What happens, for whoever repeats a run. */
static void trace(const char *what, const char *path, const char *to)
{
    if (getenv("MRMR_SEED"))
        print_message("%s %s %s\n", what, path, to);
}

static uint64_t draw(struct model *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % below;
}

static int pick(struct model *m, char **list)
{
    for (int tries = 0; tries < 200; tries++) {
        int i = (int)draw(m, MOST);
        if (list[i])
            return i;
    }
    return -1;
}

static int pick_free(char **list)
{
    for (int i = 0; i < MOST; i++)
        if (!list[i])
            return i;
    return -1;
}

static char *fresh_path(struct model *m, const char *folder)
{
    char *path = malloc(strlen(folder) + 32);
    sprintf(path, "%s%s%c%u", folder, *folder ? "/" : "", (char)('a' + draw(m, 26)), m->made++);
    return path;
}

static const char *some_folder(struct model *m)
{
    int i = draw(m, 4) ? pick(m, m->folder) : -1;
    return i < 0 ? "" : m->folder[i];
}

static bool below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

/* All paths at or below `from` come to lie at `to`. */
static void repath(char **list, const char *from, const char *to)
{
    for (int i = 0; i < MOST; i++) {
        if (!list[i] || !below(list[i], from))
            continue;
        char *path = malloc(strlen(to) + strlen(list[i]) + 1);
        sprintf(path, "%s%s", to, list[i] + strlen(from));
        free(list[i]);
        list[i] = path;
    }
}

static void drop(char **list, int i)
{
    free(list[i]);
    list[i] = NULL;
}

static uint64_t size_of(struct model *m, const char *path)
{
    struct drv_stat stat;
    assert_ok(drv_stat(scan_world_drv(m->w), path, &stat));
    return stat.size;
}

static void op_create(struct model *m)
{
    int i = pick_free(m->file);
    if (i < 0)
        return;
    m->file[i] = fresh_path(m, some_folder(m));
    trace("create", m->file[i], "");
    scan_world_file(
        m->w, m->file[i], draw(m, 3) ? draw(m, 3 * LEAF) : draw(m, 2) * LEAF, draw(m, 1000));
}

static void op_mkdir(struct model *m)
{
    int i = pick_free(m->folder);
    if (i < 0)
        return;
    m->folder[i] = fresh_path(m, some_folder(m));
    trace("mkdir", m->folder[i], "");
    scan_world_mkdir(m->w, m->folder[i]);
}

static void op_edit(struct model *m)
{
    int i = pick(m, m->file);
    if (i < 0)
        return;
    const char *path = m->file[i];
    uint64_t size = size_of(m, path);
    trace("edit", path, "");
    switch (draw(m, 4)) {
    case 0: /* append */
        scan_world_write(m->w, path, size, 1 + draw(m, LEAF), draw(m, 1000));
        break;
    case 1: /* in the middle */
        scan_world_write(m->w, path, draw(m, size + 1), 1 + draw(m, 5000), draw(m, 1000));
        break;
    case 2:
        scan_world_truncate(m->w, path, draw(m, size + 1));
        break;
    default: /* a hole at the end */
        scan_world_truncate(m->w, path, size + draw(m, 2 * LEAF));
        break;
    }
    if (!draw(m, 6)) /* touch -r */
        scan_world_mtime(m->w, path, 1000000000 + (int64_t)draw(m, 5));
}

static void op_attr(struct model *m)
{
    int i = pick(m, draw(m, 3) ? m->file : m->folder);
    if (i < 0)
        return;
    const char *path = m->file[i] ? m->file[i] : m->folder[i];
    if (path)
        assert_ok(drv_set_attr(scan_world_drv(m->w), path, DRV_ATTR_MODE,
            &(struct drv_stat){.mode = (uint32_t)(0700 | draw(m, 64))}));
}

static void op_rename_file(struct model *m)
{
    int i = pick(m, m->file), j = pick(m, m->file);
    if (i < 0)
        return;
    if (draw(m, 3) || i == j || j < 0) {
        char *to = fresh_path(m, some_folder(m));
        trace("rename", m->file[i], to);
        scan_world_rename(m->w, m->file[i], to);
        free(m->file[i]);
        m->file[i] = to;
        return;
    }
    /* Over another one. Two links of one file: rename does nothing. */
    struct drv_stat a, b;
    assert_ok(drv_stat(scan_world_drv(m->w), m->file[i], &a));
    assert_ok(drv_stat(scan_world_drv(m->w), m->file[j], &b));
    if (a.ino == b.ino)
        return;
    trace("rename over", m->file[i], m->file[j]);
    scan_world_rename(m->w, m->file[i], m->file[j]);
    drop(m->file, i);
}

static void op_rename_folder(struct model *m)
{
    int i = pick(m, m->folder);
    const char *to_folder = some_folder(m);
    if (i < 0 || below(to_folder, m->folder[i]))
        return;
    char *to = fresh_path(m, to_folder), *from = strdup(m->folder[i]);
    trace("rename folder", from, to);
    scan_world_rename(m->w, from, to);
    repath(m->file, from, to);
    repath(m->folder, from, to);
    if (!draw(m, 3)) { /* and another one in its place */
        int j = pick_free(m->folder);
        if (j >= 0) {
            m->folder[j] = strdup(from);
            trace("and make anew", from, "");
            scan_world_mkdir(m->w, from);
        }
    }
    free(from);
    free(to);
}

static void op_swap(struct model *m)
{
    char **list = draw(m, 2) ? m->file : m->folder;
    int i = pick(m, list), j = pick(m, list);
    if (i < 0 || j < 0 || i == j || below(list[i], list[j]) || below(list[j], list[i]))
        return;
    char *a = strdup(list[i]), *b = strdup(list[j]);
    trace("swap", a, b);
    assert_ok(drv_rename(scan_world_drv(m->w), a, b, DRV_RENAME_EXCHANGE));
    repath(m->file, a, "\001");
    repath(m->folder, a, "\001");
    repath(m->file, b, a);
    repath(m->folder, b, a);
    repath(m->file, "\001", b);
    repath(m->folder, "\001", b);
    free(a);
    free(b);
}

static void op_link(struct model *m)
{
    int i = pick(m, m->file), j = pick_free(m->file);
    if (i < 0 || j < 0)
        return;
    m->file[j] = fresh_path(m, some_folder(m));
    trace("link", m->file[i], m->file[j]);
    assert_ok(drv_link(scan_world_drv(m->w), m->file[i], m->file[j]));
}

static void op_delete(struct model *m)
{
    int i = pick(m, m->file);
    if (i < 0)
        return;
    char *path = strdup(m->file[i]);
    trace("delete", path, "");
    scan_world_unlink(m->w, path);
    drop(m->file, i);
    int j = pick_free(m->folder);
    if (!draw(m, 4) && j >= 0) { /* a folder of that name */
        trace("and make a folder", path, "");
        scan_world_mkdir(m->w, path);
        m->folder[j] = strdup(path);
    } else if (!draw(m, 4)) { /* or a new file */
        trace("and make anew", path, "");
        scan_world_file(m->w, path, draw(m, 2 * LEAF), draw(m, 1000));
        m->file[i] = strdup(path);
    }
    free(path);
}

static void op_delete_folder(struct model *m)
{
    int i = pick(m, m->folder);
    if (i < 0)
        return;
    char *path = strdup(m->folder[i]);
    trace("delete folder", path, "");
    for (int k = 0; k < MOST; k++)
        if (m->file[k] && below(m->file[k], path)) {
            scan_world_unlink(m->w, m->file[k]);
            drop(m->file, k);
        }
    for (bool more = true; more;) {
        int deepest = -1;
        for (int k = 0; k < MOST; k++)
            if (m->folder[k] && below(m->folder[k], path) &&
                (deepest < 0 || strlen(m->folder[k]) > strlen(m->folder[deepest])))
                deepest = k;
        more = deepest >= 0;
        if (more) {
            scan_world_rmdir(m->w, m->folder[deepest]);
            drop(m->folder, deepest);
        }
    }
    free(path);
}

static void op_any(struct model *m)
{
    static void (*const ops[])(struct model *) = {op_create, op_create, op_create, op_mkdir,
        op_edit, op_edit, op_edit, op_attr, op_rename_file, op_rename_file, op_rename_folder,
        op_swap, op_link, op_delete, op_delete, op_delete_folder};
    ops[draw(m, sizeof ops / sizeof *ops)](m);
}

/* Of which file each node is, to see that moves are moves. */
struct known {
    uint64_t ino;
    int64_t btime, node;
};

static size_t remember(struct model *m, struct known known[])
{
    size_t n = 0;
    for (int i = 0; i < MOST; i++) {
        struct drv_stat stat;
        if (!m->file[i])
            continue;
        assert_ok(drv_stat(scan_world_drv(m->w), m->file[i], &stat));
        struct meta_node node;
        if (scan_world_knows(m->w, m->file[i], &node) && node.ino == stat.ino)
            known[n++] = (struct known){stat.ino, stat.btime, node.id};
    }
    return n;
}

static void check_moves(struct model *m, const struct known known[], size_t n)
{
    if (!(m->w->drive[0]->info.caps & DRV_CAP_BTIME))
        return;
    for (int i = 0; i < MOST; i++) {
        struct drv_stat stat;
        struct meta_node node;
        if (!m->file[i])
            continue;
        assert_ok(drv_stat(scan_world_drv(m->w), m->file[i], &stat));
        if (!scan_world_knows(m->w, m->file[i], &node) || node.ino != stat.ino)
            continue; /* a held file has its name, or that of a folder above it */
        for (size_t k = 0; k < n; k++)
            if (known[k].ino == stat.ino && known[k].btime == stat.btime &&
                node.id != known[k].node)
                fail_msg("'%s' was moved: it was node %d and is %d now", m->file[i],
                    (int)known[k].node, (int)node.id);
    }
}

/* What has come into the place of a held file waits (scan_world_check sees that nothing else does). */
static void protect_some(struct model *m)
{
    struct meta_node node;
    for (int i = 0; i < MOST; i++)
        if (m->file[i] && draw(m, 2) && scan_world_knows(m->w, m->file[i], &node))
            scan_world_protect(m->w, m->file[i]);
}

static void play(struct scan_world *w, uint64_t seed)
{
    struct model m = {.w = w, .random = seed};
    struct known known[MOST];
    scan_world_file(w, "anchor", 10, 1); /* so that not all files can vanish at once */
    assert_ok(meta_set(w->pool.meta, "hold-percent", "100"));
    scan_world_sync(w);
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = remember(&m, known);
        for (uint64_t ops = 1 + draw(&m, OPS); ops; ops--)
            op_any(&m);
        bool accept = draw(&m, 2);
        trace("scan", accept ? "accept" : "", "");
        assert_ok(scan_world_try(w, accept));
        assert_int_equal(w->report.drives_held, 0);
        if (draw(&m, 4) || accept) {
            scan_world_compare(w);
            assert_int_equal(w->report.skipped, 0);
            scan_world_check(w);
            check_moves(&m, known, n);
        } else {
            assert_ok(scan_world_try(w, true)); /* compare missed a turn */
            scan_world_compare(w);
            scan_world_check(w);
        }
        protect_some(&m);
        /* And once more: nothing is left over. */
        scan_world_sync(w);
        assert_int_equal(w->report.added + w->report.vanished + w->report.moved, 0);
    }
    for (int i = 0; i < MOST; i++) {
        free(m.file[i]);
        free(m.folder[i]);
    }
}

static void random_changes_are_followed(void **state)
{
    const char *kind = *state, *given = getenv("MRMR_SEED");
    int runs = given ? 1 : !strcmp(kind, "local") ? 2 : 5;
    for (int run = 0; run < runs; run++) {
        uint64_t seed;
        assert_ok(mrmr_random(&seed, sizeof seed));
        seed = given ? strtoull(given, NULL, 10) : seed | 1;
        print_message("%s: MRMR_SEED=%llu\n", kind, (unsigned long long)seed);
        struct scan_world *w = scan_world_create(!strcmp(kind, "local"), 2);
        play(w, seed);
        scan_world_destroy(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(random_changes_are_followed, scan_world_mem),
        cmocka_unit_test_prestate(random_changes_are_followed, scan_world_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
