/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Copies of the catalog on the drives: what each drive has after jobs, absences, failures and power
 * cuts, and that the catalog comes back from any one of them, with our code and with zcat and
 * sqlite3 alone.
 */
#include "catalog_same.h"
#include "pool_drive_world.h"

#include "drivers/fault.h"
#include "drivers/mem.h"
#include "pool/catalog_format.h"
#include "tests/support/rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct mrmr_cancel no_cancel;
static const struct pool_job job = {.cancel = &no_cancel};

static const char *catalog_path(struct world *w)
{
    return world_path(w, "pool/catalog.sqlite");
}

static void copy_now(struct world *w)
{
    assert_ok(pool_catalog_copy(w->pool, &job, POOL_COPIES_ALL, NULL));
}

/* A change that matters, in a large table and in a small one. */
static void change(struct world *w)
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

/* --- What a drive has ----------------------------------------------------------------------------
 */

struct has {
    unsigned bases, logs, others;
    int64_t base, upto;
    char base_path[600], log_path[600]; /* the newest */
};

static struct has has(struct world *w, const char *drive)
{
    struct has h = {0};
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

static void assert_has(struct world *w, const char *drive, unsigned bases, unsigned logs)
{
    struct has h = has(w, drive);
    if (h.bases != bases || h.logs != logs || h.others)
        fail_msg("%s has %u bases, %u logs, %u others; wanted %u and %u", drive, h.bases, h.logs,
            h.others, bases, logs);
}

/* --- Restoring -----------------------------------------------------------------------------------
 */

static void run(const char *command)
{
    int status = system(command);
    if (status)
        fail_msg("%s: %d", command, status);
}

/* As the head of each copy and docs/FORMAT.md tell a person to. */
static void restore_by_hand(struct world *w, const char *drive, const char *to)
{
    char command[3000];
    struct has h = has(w, drive);
    unlink(to);
    snprintf(command, sizeof command,
        "cd '%s/.mrmr/catalog' && LC_ALL=C zcat base-%012lld.sql.gz $(ls log-%012lld-*.sql.gz "
        "2>/dev/null) | sqlite3 -bail '%s'",
        world_path(w, drive), (long long)h.base, (long long)h.base, to);
    run(command);
}

static mrmr_err restore(struct world *w, const char *uri)
{
    world_remove(world_path(w, "again"));
    return pool_catalog_restore(world_path(w, "again"), uri);
}

static const char *again_path(struct world *w)
{
    return world_path(w, "again/catalog.sqlite");
}

static void assert_restores(struct world *w, const char *drive)
{
    char by_hand[256];
    snprintf(by_hand, sizeof by_hand, "%s", world_path(w, "by-hand.sqlite"));
    restore_by_hand(w, drive, by_hand);
    catalog_assert_same(catalog_path(w), by_hand);
    assert_ok(restore(w, world_path(w, drive)));
    catalog_assert_same(catalog_path(w), again_path(w));
}

static char last_event[512];

static mrmr_err event_seen(const struct meta_event *event, void *arg)
{
    (void)arg;
    snprintf(last_event, sizeof last_event, "%s: %s", event->kind, event->text);
    return MRMR_OK;
}

/* The newest event of a restored catalog. */
static const char *again_event(struct world *w)
{
    struct meta *meta = NULL;
    assert_ok(meta_open(again_path(w), META_READONLY, &meta));
    assert_ok(meta_events(meta, 0, 1, event_seen, NULL));
    meta_close(meta);
    return last_event;
}

/* --- Chains --------------------------------------------------------------------------------------
 */

static void base_then_logs(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    assert_has(w, "a", 0, 0);
    copy_now(w);
    for (unsigned logs = 0; logs < 5; logs++) {
        assert_has(w, "a", 1, logs);
        assert_has(w, "b", 1, logs);
        assert_restores(w, "a");
        assert_restores(w, "b");
        change(w);
        copy_now(w);
    }
    struct stat st;
    assert_int_equal(stat(has(w, "a").base_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* The catalog that was restored is a pool's again: it opens, and its next copy is a base. */
static void restored_catalogs_go_on(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    copy_now(w);
    change(w);
    copy_now(w);
    int64_t upto = has(w, "a").upto;
    assert_ok(restore(w, world_path(w, "a")));
    assert_restores(w, "a");
    /* Copies were cut that the restored catalog does not know of. */
    change(w);
    copy_now(w);
    change(w);
    copy_now(w);
    assert_true(has(w, "a").upto > upto);
    upto = has(w, "a").upto;
    /* Attached, the drive is in the session that the copy knows; closing would go on to the next.
     */
    w->pool->drives[0]->attached = false;
    world_close(w);
    world_remove(world_path(w, "pool"));
    assert_int_equal(rename(world_path(w, "again"), world_path(w, "pool")), 0);
    world_open(w);
    assert_int_equal(w->pool->drives[0]->presence, POOL_PRESENT);
    copy_now(w);
    assert_has(w, "a", 1, 0);
    assert_true(has(w, "a").base > upto);
    assert_restores(w, "a");
}

static void no_change_writes_nothing(void **state)
{
    struct world *w = *state;
    struct pool_sync_report report;
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        world_add(w, names[i]);
        for (int k = 0; k < 20; k++) {
            char path[64];
            snprintf(path, sizeof path, "%s/f%d", names[i], k);
            world_write(world_path(w, path), path);
        }
    }
    assert_ok(pool_sync(w->pool, &job, false, &report));
    copy_now(w);
    world_close(w);
    for (int run_no = 0; run_no < 3; run_no++) {
        mrmr_autofree char *before[3] = {NULL};
        for (int i = 0; i < 3; i++)
            before[i] = world_tree(world_path(w, names[i]));
        world_open(w);
        assert_ok(pool_sync(w->pool, &job, false, &report));
        copy_now(w);
        world_close(w);
        for (int i = 0; i < 3; i++) {
            char *after = world_tree(world_path(w, names[i]));
            assert_string_equal(before[i], after);
            free(after);
        }
        for (int i = 1; i < 3; i++)
            free(before[i]);
    }
    world_open(w);
    world_write(world_path(w, "a/new"), "new");
    assert_ok(pool_sync(w->pool, &job, false, &report));
    copy_now(w);
    assert_has(w, "a", 1, 1);
    assert_restores(w, "a");
}

/* Closing copies onto the drives that were in use, so that an interrupted job loses nothing. */
static void closing_copies(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    world_add(w, "b");
    assert_ok(pool_drive_attach(w->pool, a));
    change(w);
    world_close(w);
    assert_has(w, "a", 1, 0);
    assert_has(w, "b", 0, 0);
    world_open(w);
    a = pool_drive_by_name(w->pool, "a");
    assert_ok(pool_drive_attach(w->pool, a));
    change(w);
    world_close(w);
    assert_has(w, "a", 1, 1);
    world_open(w);
    copy_now(w);
    assert_has(w, "a", 1, 1);
    assert_has(w, "b", 1, 0);
    assert_int_equal(has(w, "a").upto, has(w, "b").upto);
}

static void many_logs_make_a_base(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    copy_now(w);
    int64_t base = has(w, "a").base;
    for (unsigned i = 0; i < 64; i++) {
        change(w);
        copy_now(w);
    }
    assert_has(w, "a", 1, 64);
    assert_int_equal(has(w, "a").base, base);
    change(w);
    copy_now(w);
    assert_has(w, "a", 1, 0);
    assert_restores(w, "a");
}

static void large_logs_make_a_base(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    uint8_t noise[30000];
    copy_now(w);
    for (unsigned i = 0; i < 2; i++) {
        assert_has(w, "a", 1, i);
        change(w);
        assert_ok(mrmr_random(noise, sizeof noise));
        assert_ok(meta_attr_set(w->pool->meta, a->meta.root, noise, sizeof noise));
        copy_now(w);
    }
    assert_has(w, "a", 1, 2);
    change(w);
    copy_now(w);
    assert_has(w, "a", 1, 0);
    assert_restores(w, "a");
}

/* --- Drives that come and go --- */

static void away_and_back(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    copy_now(w);
    change(w);
    copy_now(w);
    world_close(w);
    assert_int_equal(rename(world_path(w, "b"), world_path(w, "aside")), 0);
    world_open(w);
    change(w);
    copy_now(w);
    assert_has(w, "a", 1, 2);
    world_close(w);
    assert_int_equal(rename(world_path(w, "aside"), world_path(w, "b")), 0);
    struct has old = has(w, "b");
    world_open(w);
    copy_now(w); /* nothing changed, but b is behind */
    assert_has(w, "a", 1, 2);
    assert_has(w, "b", 1, 0);
    assert_true(has(w, "b").base > old.upto);
    assert_int_equal(has(w, "b").upto, has(w, "a").upto);
    assert_ok(restore(w, world_path(w, "a")));
    change(w);
    copy_now(w);
    assert_has(w, "a", 1, 3);
    assert_has(w, "b", 1, 1);
    assert_restores(w, "a");
    assert_restores(w, "b");
}

/* A process that died before it copied: nobody knows what changed. */
static void a_killed_process_leaves_a_gap(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    copy_now(w);
    struct has before = has(w, "a");
    world_close(w);
    pid_t pid = fork();
    if (pid == 0) {
        w->pool = NULL;
        world_open(w);
        change(w);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    world_open(w);
    copy_now(w);
    assert_has(w, "a", 1, 0);
    assert_true(has(w, "a").base > before.upto);
    assert_restores(w, "a");
}

static void who_may_not_write_does_not(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    copy_now(w);
    change(w);
    world_close(w);
    /* Another catalog has taken the drive since: it diverged. */
    struct pool_identity identity = world_identity(world_path(w, "a"));
    identity.session.number += 7;
    struct drv *drv = NULL;
    assert_ok(drv_open(world_path(w, "a"), &drv));
    assert_ok(pool_identity_write(drv, &identity));
    drv_close(drv);
    mrmr_autofree char *before = world_tree(world_path(w, "a"));
    world_open(w);
    change(w);
    copy_now(w);
    world_close(w);
    mrmr_autofree char *after = world_tree(world_path(w, "a"));
    assert_string_equal(before, after);
    struct pool *look = NULL;
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    assert_ok(pool_catalog_copy(look, &job, POOL_COPIES_ALL, NULL));
    pool_close(look);
    world_open(w);
}

/* Names of others in the folder, and temps of an interrupted round. */
static void strangers_in_the_folder(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    copy_now(w);
    struct has h = has(w, "a");
    char temp[640];
    snprintf(temp, sizeof temp, "%s~", h.base_path);
    world_write(temp, "half");
    world_write(world_path(w, "a/.mrmr/catalog/notes.txt"), "mine");
    world_write(world_path(w, "a/.mrmr/catalog/base-7.sql.gz"), "not a name of ours");
    world_mkdir(world_path(w, "a/.mrmr/catalog/base-999999999999.sql.gz"));
    change(w);
    copy_now(w);
    assert_int_equal(access(temp, F_OK), 0); /* only a base cleans up */
    world_remove(h.base_path);
    copy_now(w);
    assert_int_equal(access(temp, F_OK), -1);
    assert_int_equal(access(world_path(w, "a/.mrmr/catalog/notes.txt"), F_OK), 0);
    assert_int_equal(access(world_path(w, "a/.mrmr/catalog/base-7.sql.gz"), F_OK), 0);
    assert_ok(restore(w, world_path(w, "a")));
    catalog_assert_same(catalog_path(w), again_path(w));
}

/* --- Damaged copies --- */

static void flip(const char *path, off_t at, unsigned char mask)
{
    unsigned char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void keep(struct world *w, const char *name)
{
    char command[3000];
    snprintf(command, sizeof command, "sqlite3 '%s' \"VACUUM INTO '%s'\"", catalog_path(w),
        world_path(w, name));
    run(command);
}

/* Each byte of a log flipped, and it cut at each length: it is used whole or not at all, and what
 * is left is the state before it. Never a crash, never half of it. */
static void damaged_logs(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    change(w);
    copy_now(w);
    change(w);
    copy_now(w);
    keep(w, "before.sqlite");
    change(w);
    copy_now(w);
    struct has h = has(w, "a");
    char good[640];
    snprintf(good, sizeof good, "%s", world_path(w, "good"));
    world_copy(h.log_path, good);
    off_t size = size_of(good);
    for (off_t at = 0; at < 2 * size; at += 1 + size / 40) {
        if (at < size)
            flip(h.log_path, at, (unsigned char)(1u << (at % 8)));
        else
            assert_int_equal(truncate(h.log_path, at - size), 0);
        mrmr_err err = restore(w, world_path(w, "a"));
        assert_ok(err);
        /* A flip in the gzip header (time, system), or of bits behind the last code, is no damage.
         */
        if (!catalog_same(catalog_path(w), again_path(w))) {
            const char *event = again_event(w);
            if (!strstr(event, "catalog-restored") || !strstr(event, "log-"))
                fail_msg("no word of it: %s", event);
            char command[3000];
            snprintf(command, sizeof command,
                "sqlite3 '%s' \"DELETE FROM event WHERE kind = 'catalog-restored'; "
                "UPDATE sqlite_sequence SET seq = coalesce((SELECT max(id) FROM event), 0) "
                "WHERE name = 'event'\"",
                again_path(w));
            run(command);
            catalog_assert_same(world_path(w, "before.sqlite"), again_path(w));
        } else {
            if ((at < 1 || at > 9) && at != size - 9)
                fail_msg("the damage at %ld of %ld was not found", (long)at, (long)size);
        }
        unlink(h.log_path);
        world_copy(good, h.log_path);
    }
    assert_restores(w, "a");
}

/* One byte of a base, and the end of a log: a scrub finds each, and the drive has a whole chain
 * again; its neighbour's stays. */
static void damaged_copies_are_replaced(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    copy_now(w);
    change(w);
    copy_now(w);
    change(w);
    copy_now(w);
    struct has a = has(w, "a"), b = has(w, "b");
    for (unsigned i = 0; i < 2; i++) {
        const char *path = i ? a.log_path : a.base_path;
        uint64_t damaged = 7;
        if (i)
            assert_int_equal(truncate(path, size_of(path) - 3), 0);
        else
            flip(path, size_of(path) / 2, 1);
        assert_ok(pool_catalog_copy(w->pool, &job, POOL_COPIES_VERIFIED, &damaged));
        assert_int_equal(damaged, 1);
        assert_ok(pool_catalog_copy(w->pool, &job, POOL_COPIES_VERIFIED, &damaged));
        assert_int_equal(damaged, 0);
        assert_ok(restore(w, world_path(w, "a")));
        change(w);
        copy_now(w);
        a = has(w, "a");
    }
    assert_true(has(w, "b").base == b.base);
}

static void damaged_bases(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    change(w);
    copy_now(w);
    struct has h = has(w, "a");
    char good[640];
    snprintf(good, sizeof good, "%s", world_path(w, "good"));
    world_copy(h.base_path, good);
    off_t size = size_of(good);
    for (off_t at = 10; at < 2 * size; at += 1 + size / 40) {
        if (at < size)
            flip(h.base_path, at, (unsigned char)(1u << (at % 8)));
        else
            assert_int_equal(truncate(h.base_path, at - size), 0);
        mrmr_err err = restore(w, world_path(w, "a"));
        if (err || at >= size) {
            assert_int_equal(mrmr_class_of(err), MRMR_CLASS_CORRUPT);
            assert_int_equal(access(again_path(w), F_OK), -1);
        } else { /* a bit that says nothing: of a gzip header, or behind a last code */
            catalog_assert_same(catalog_path(w), again_path(w));
            unlink(again_path(w));
        }
        unlink(h.base_path);
        world_copy(good, h.base_path);
    }
    /* An older base that is whole is better than a newer one that is not. */
    char older[640];
    snprintf(older, sizeof older, "%s", h.base_path);
    keep(w, "before.sqlite");
    change(w);
    world_remove(h.base_path);
    copy_now(w);
    world_copy(good, older);
    assert_has(w, "a", 2, 0);
    flip(has(w, "a").base_path, size / 2, 0x10);
    assert_ok(restore(w, world_path(w, "a")));
    assert_non_null(strstr(again_event(w), "base-"));
}

/* gzip'd text that is no copy, one of another pool, of another sequence, with more behind its end,
 * or a missing link. */
static void foreign_copies(void **state)
{
    struct world *w = *state;
    static const char *const edits[] = {
        "/^-- pool/y/0123456789abcdef/123456789abcdef0/",
        "s/^-- sequence .*/-- sequence 5/",
        "s/^-- kind base/-- kind log/",
        "s/format 1/format 2/",
        "/^-- pool/d",
        "/^-- sequence/d",
        "/^-- kind/d",
        "s/^-- kind base/-- kind base\\n-- after 5/",
        "\\$d",
        "s/^-- end .*/-- end 5/",
        "\\$s/\\$/\\nBEGIN;/",
        "s/^COMMIT;/COMMIT;\\nDROP TABLE node;/",
        "s/^BEGIN;/BEGIN;\\nCREATE TRIGGER/;s/^INSERT INTO setting.*/ATTACH 'x' AS y;/",
        "s/^INSERT INTO setting VALUES('pool.uuid.*/&\\n&/",
        "1d",
        "d",
    };
    world_add(w, "a");
    copy_now(w);
    struct has h = has(w, "a");
    char command[3000];
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        snprintf(command, sizeof command,
            "cp '%s' '%s' && zcat '%s' | sed \"%s\" | gzip > '%s/x' && mv '%s/x' '%s'", h.base_path,
            world_path(w, "good"), h.base_path, edits[i], w->dir, w->dir, h.base_path);
        run(command);
        mrmr_err err = restore(w, world_path(w, "a"));
        if (mrmr_class_of(err) != MRMR_CLASS_CORRUPT && err != MRMR_NEWER)
            fail_msg("%s gave '%s'", edits[i], mrmr_err_name(err));
        assert_int_equal(access(again_path(w), F_OK), -1);
        snprintf(command, sizeof command, "mv '%s' '%s'", world_path(w, "good"), h.base_path);
        run(command);
    }
    assert_restores(w, "a");
    /* The link in the middle is gone: what came after it does not count. */
    keep(w, "before.sqlite");
    change(w);
    copy_now(w);
    struct has middle = has(w, "a");
    change(w);
    copy_now(w);
    world_remove(middle.log_path);
    assert_ok(restore(w, world_path(w, "a")));
    assert_non_null(strstr(again_event(w), "is missing"));
}

/* A megabyte of gzip can hold a gigabyte of text. */
static void bombs(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    copy_now(w);
    struct has h = has(w, "a");
    char command[3000];
    snprintf(command, sizeof command,
        "(zcat '%s' | sed '/^COMMIT/,$d'; yes \"INSERT INTO slot_used VALUES(7);\" | head -c "
        "300000000) | gzip -1 > '%s/x' && mv '%s/x' '%s'",
        h.base_path, w->dir, w->dir, h.base_path);
    run(command);
    assert_int_equal(mrmr_class_of(restore(w, world_path(w, "a"))), MRMR_CLASS_CORRUPT);
    snprintf(command, sizeof command, "head -c 400000000 /dev/zero | tr '\\0' '-' | gzip -1 > '%s'",
        h.base_path);
    run(command);
    assert_int_equal(mrmr_class_of(restore(w, world_path(w, "a"))), MRMR_CLASS_CORRUPT);
}

static void restore_refuses(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "empty");
    copy_now(w);
    world_remove(world_path(w, "empty/.mrmr/catalog"));
    expect_failure(restore(w, world_path(w, "empty")), MRMR_ABSENT, "no copy of the catalog");
    expect_failure(pool_catalog_restore(world_path(w, "pool"), world_path(w, "a")), MRMR_EXISTS,
        "there is a catalog");
    assert_int_equal(mrmr_class_of(restore(w, world_path(w, "nowhere"))), MRMR_CLASS_ABSENT);
    assert_true(pool_catalog_restore(world_path(w, "a/inside"), world_path(w, "a")) != MRMR_OK);
    assert_int_equal(access(world_path(w, "a/inside/catalog.sqlite"), F_OK), -1);
}

/* --- Failing drives --- */

struct faulty {
    struct world w;
    struct drv_fault *fault[2];
};

static int faulty_setup(void **state)
{
    struct faulty *f = calloc(1, sizeof *f);
    void *inner = NULL;
    if (!f || world_setup(&inner))
        return -1;
    f->w = *(struct world *)inner;
    free(inner);
    drv_mem_reset_all();
    for (int i = 0; i < 2; i++) {
        char name[32], mem[32], uri[32];
        snprintf(name, sizeof name, "copy%d", i);
        snprintf(mem, sizeof mem, "mem://copy%d?cut=1", i);
        snprintf(uri, sizeof uri, "fault://copy%d", i);
        assert_ok(drv_fault_create(&f->fault[i]));
        assert_ok(drv_fault_serve(f->fault[i], name, mem));
        struct pool_drive_spec spec = {.uri = uri, .name = name, .domain = name};
        assert_ok(pool_drive_add(f->w.pool, &spec));
    }
    *state = f;
    return 0;
}

static int faulty_teardown(void **state)
{
    struct faulty *f = *state;
    pool_close(f->w.pool);
    for (int i = 0; i < 2; i++)
        drv_fault_destroy(f->fault[i]);
    drv_mem_reset_all();
    world_remove(f->w.dir);
    free(f);
    return 0;
}

static void assert_mem_restores(struct world *w, int drive)
{
    char uri[32];
    snprintf(uri, sizeof uri, "mem://copy%d", drive);
    assert_ok(restore(w, uri));
    catalog_assert_same(catalog_path(w), again_path(w));
}

/* A drive that fails in the middle keeps what it had; the other drive and the job go on; and it
 * catches up. Every call in turn, once and for good; normally every fifth. */
static void failing_calls(void **state)
{
    struct faulty *f = *state;
    struct world *w = &f->w;
    const unsigned step = rig_all() ? 1 : 5; /* of each kind some */
    copy_now(w);
    for (unsigned n = 0, over = 0; over < 4; n += step) {
        bool for_good = n % 2, base = n % 4 > 1;
        struct drv_fault_rule rule = {.ops = DRV_FAULT_CHANGES,
            .part = "catalog",
            .after = n / 4,
            .times = for_good ? 0 : 1,
            .err = n % 3 ? MRMR_IO : MRMR_SPACE};
        uint64_t hits = 0;
        if (base) { /* behind: this round gives it a base */
            struct drv_fault_rule all = {
                .ops = DRV_FAULT_CREATE, .part = "catalog", .err = MRMR_IO};
            change(w);
            assert_ok(drv_fault_add(f->fault[1], &all, NULL));
            copy_now(w);
            drv_fault_clear(f->fault[1]);
        }
        change(w);
        unsigned id;
        assert_ok(drv_fault_add(f->fault[1], &rule, &id));
        size_t told = world_events(w, "catalog-copy", NULL);
        copy_now(w);
        hits = drv_fault_hits(f->fault[1], id);
        drv_fault_clear(f->fault[1]);
        assert_true(world_events(w, "catalog-copy", NULL) <= told + 1);
        /* The other drive is up to date but for what was told. */
        assert_ok(restore(w, "mem://copy0"));
        assert_ok(restore(w, "mem://copy1")); /* some whole state */
        if (!hits)
            over++;
        copy_now(w);
        change(w);
        copy_now(w);
        assert_mem_restores(w, 0);
        assert_mem_restores(w, 1);
    }
}

/* The power goes at each call of a round, with whatever the drive then keeps: its copies give the
 * state before or the state after, never another, never nothing. */
static void power_cuts(void **state)
{
    struct faulty *f = *state;
    struct world *w = &f->w;
    uint64_t seed = (uint64_t)mrmr_clock_real();
    if (getenv("MRMR_SEED"))
        seed = strtoull(getenv("MRMR_SEED"), NULL, 0);
    print_message("power_cuts: MRMR_SEED=%llu\n", (unsigned long long)seed);
    change(w);
    copy_now(w);
    for (unsigned n = 0, over = 0; over < 2; n++) {
        bool base = n % 2;
        struct drv_fault_rule rule = {
            .ops = DRV_FAULT_CHANGES, .part = "catalog", .after = n / 2, .err = MRMR_IO};
        unsigned id;
        copy_now(w);
        mrmr_autobytes struct mrmr_bytes before = MRMR_BYTES_INIT, after = MRMR_BYTES_INIT;
        assert_ok(meta_get(w->pool->meta, "exclude", &before));
        change(w);
        if (base) { /* behind: this round gives it a base */
            struct drv_fault_rule all = {
                .ops = DRV_FAULT_CREATE, .part = "catalog", .err = MRMR_IO};
            assert_ok(drv_fault_add(f->fault[1], &all, NULL));
            copy_now(w);
            drv_fault_clear(f->fault[1]);
            change(w);
        }
        assert_ok(drv_fault_add(f->fault[1], &rule, &id));
        copy_now(w);
        uint64_t hits = drv_fault_hits(f->fault[1], id);
        drv_fault_clear(f->fault[1]);
        if (!hits)
            over++;
        assert_ok(drv_mem_power_cut("copy1", seed + n));
        world_remove(world_path(w, "again"));
        mrmr_err err = pool_catalog_restore(world_path(w, "again"), "mem://copy1");
        if (err)
            fail_msg("cut %u: %s", n, mrmr_err_name(err));
        /* Neither half a log nor a mixture: it is what one of the copies was. */
        struct meta *meta = NULL;
        assert_ok(meta_open(again_path(w), 0, &meta));
        assert_ok(meta_check(meta));
        mrmr_autobytes struct mrmr_bytes now = MRMR_BYTES_INIT;
        assert_ok(meta_get(meta, "exclude", &now));
        meta_close(meta);
        assert_ok(meta_get(w->pool->meta, "exclude", &after));
        if (strcmp(now.data, after.data) != 0 && (!hits || strcmp(now.data, before.data) != 0))
            fail_msg("cut %u: '%s', neither '%s' nor '%s'", n, now.data, before.data, after.data);
        assert_null(strstr(again_event(w), "catalog-restored"));
        /* The process went with the power. */
        f->w.pool->drives[1]->attached = f->w.pool->drives[0]->attached = false;
        world_close(w);
        world_open(w);
        if (w->pool->drives[1]->presence == POOL_DIVERGED)
            fail_msg("cut %u: diverged", n);
    }
    change(w);
    copy_now(w);
    assert_mem_restores(w, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define FAULTY(name) cmocka_unit_test_setup_teardown(name, faulty_setup, faulty_teardown)
    const struct CMUnitTest tests[] = {
        TEST(base_then_logs),
        TEST(restored_catalogs_go_on),
        TEST(no_change_writes_nothing),
        TEST(closing_copies),
        TEST(many_logs_make_a_base),
        TEST(large_logs_make_a_base),
        TEST(away_and_back),
        TEST(a_killed_process_leaves_a_gap),
        TEST(who_may_not_write_does_not),
        TEST(strangers_in_the_folder),
        TEST(damaged_logs),
        TEST(damaged_copies_are_replaced),
        TEST(damaged_bases),
        TEST(foreign_copies),
        TEST(bombs),
        TEST(restore_refuses),
        FAULTY(failing_calls),
        FAULTY(power_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
