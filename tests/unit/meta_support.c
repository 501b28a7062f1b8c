/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>

struct rng rng_seeded(const char *test)
{
    const char *set = getenv("MRMR_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed =
        set ? strtoull(set, NULL, 0) : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    print_message("%s: MRMR_SEED=%llu\n", test, (unsigned long long)seed);
    return (struct rng){seed};
}

int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const char *tmp = getenv("TMPDIR");
    if (!w || (size_t)snprintf(w->dir, sizeof w->dir, "%s/mrmr-meta-XXXXXX",
                  tmp && strlen(tmp) < 40 ? tmp : "/tmp") >= sizeof w->dir)
        return -1;
    if (!mkdtemp(w->dir))
        return -1;
    snprintf(w->path, sizeof w->path, "%s/catalog.sqlite", w->dir);
    *state = w;
    return meta_open(w->path, META_CREATE, &w->meta) ? -1 : 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;
    meta_close(w->meta);
    DIR *dir = opendir(w->dir);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", w->dir, e->d_name);
        if (e->d_name[0] != '.' && unlink(path))
            rmdir(path);
    }
    if (dir)
        closedir(dir);
    int rc = rmdir(w->dir);
    free(w);
    return rc;
}

void copy_file(const char *from, const char *to)
{
    static char buf[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t n;
    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, buf, sizeof buf)) > 0)
        assert_int_equal(write(out, buf, (size_t)n), n);
    assert_int_equal(n, 0);
    assert_int_equal(close(out), 0);
    close(in);
}

void world_reopen(struct world *w)
{
    meta_close(w->meta);
    w->meta = NULL;
    assert_ok(meta_open(w->path, 0, &w->meta));
}

static sqlite3 *world_db(struct world *w)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    sqlite3_exec(
        db, "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF", NULL, NULL, NULL);
    return db;
}

void world_sql(struct world *w, const char *sql)
{
    sqlite3 *db = world_db(w);
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message))
        fail_msg("%s: %s", sql, message);
    sqlite3_close(db);
}

int64_t world_int(struct world *w, const char *sql)
{
    sqlite3 *db = world_db(w);
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) || sqlite3_step(stmt) != SQLITE_ROW)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

struct meta_drive make_drive(struct world *w, const char *name)
{
    static char uri[] = "mem://test";
    struct meta_drive d = {.uri = uri, .present = true, .total = 1u << 30};
    snprintf(d.name, sizeof d.name, "%s", name);
    snprintf(d.domain, sizeof d.domain, "%s", name);
    assert_ok(mrmr_uuid_make(&d.uuid));
    assert_ok(meta_slot_free(w->meta, &d.slot));
    assert_ok(meta_drive_add(w->meta, &d));
    return d;
}

struct meta_node make_node(struct world *w, const struct meta_drive *drive, int64_t parent,
    const char *name, enum meta_type type, uint64_t size)
{
    struct meta_node node = {.drive = drive->id,
        .type = type,
        .mode = 0644,
        .nlink = 1,
        .size = size,
        .version = 1,
        .mtime = INT64_C(1700000000123456789)};
    assert_ok(meta_node_add(w->meta, &node, parent, name));
    return node;
}

void make_exposed(struct world *w, const struct meta_node *node)
{
    struct meta_exposed range = {
        node->drive, node->id, 0, leaves_of(node->size), node->size, 1000 + node->id};
    assert_ok(meta_expose(w->meta, &range));
}

struct mrmr_digest make_digest(uint64_t of)
{
    struct mrmr_digest digest;
    for (size_t i = 0; i < sizeof digest.bytes; i++)
        digest.bytes[i] = (uint8_t)(of * 31 + i * 7 + (of >> 8));
    return digest;
}

int64_t make_stripe(struct world *w, const struct meta_drive drives[],
    const struct meta_node files[], size_t n, const struct meta_drive row_drives[], size_t rows)
{
    struct meta_block block[8];
    struct meta_row row[8];
    struct meta_extent extent[8];
    struct meta_claim claim[8];
    struct mrmr_digest digests[64];
    struct meta_stripe s = {.generation = 1,
        .made = 5,
        .blocks = n,
        .rows = rows,
        .extents = n,
        .block = block,
        .row = row,
        .extent = extent};
    assert_true(n <= 8 && rows <= 8);
    assert_ok(mrmr_uuid_make(&s.uuid));
    for (size_t i = 0; i < 64; i++)
        digests[i] = make_digest(i);
    for (size_t i = 0; i < n; i++) {
        uint64_t leaves = leaves_of(files[i].size);
        assert_true(leaves <= 64);
        if (files[i].size > s.length)
            s.length = files[i].size;
        block[i] = (struct meta_block){drives[i].id, drives[i].slot, files[i].size, 1, i};
        extent[i] = (struct meta_extent){.drive = drives[i].id,
            .node = files[i].id,
            .leaves = leaves,
            .bytes = files[i].size,
            .version = files[i].version,
            .digests = digests};
        claim[i] = (struct meta_claim){files[i].id, files[i].version, 0, leaves};
    }
    for (size_t i = 0; i < rows; i++)
        row[i] = (struct meta_row){(uint8_t)i, row_drives[i].id, META_ROW_OK, s.length + 100};
    assert_ok(meta_stripe_store(w->meta, &s, 0, claim, n));
    return s.id;
}
