/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a stripe counts on stays readable after it was overwritten, cut short or deleted with the
 * saving that I3 asks for, also when the power goes at any moment; and it is let go of when no
 * stripe counts on it any more.
 */
#include "pool/touched.h"
#include "pool/writers.h"
#include "tests/support/kept.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DRIVES = 5, FILE_LEAVES = 3 };

/* --- the user, through MRMR --- */

static mrmr_err save(struct rig *rig, const char *path, uint64_t from, uint64_t to)
{
    struct meta_node node = rig_node(rig, path);
    struct drv *drv = pool_drive_by_id(rig->pool, node.drive)->drv;
    struct meta_extent *extents;
    struct drv_file *file = NULL;
    size_t n;
    rig_ok(meta_extents_of(rig->pool->meta, node.id, &extents, &n));
    mrmr_err err = drv_file_open(drv, path, DRV_OPEN_READ, 0, &file);
    if (!err)
        err = pool_retained_save_leaves(drv, file, extents, n, from, to);
    drv_file_close(file);
    free(extents);
    return err;
}

/* On drive 0; the rig need not know of it. */
static struct meta_node node_at(struct rig *rig, const char *path)
{
    struct meta_node node;
    rig_ok(meta_lookup_path(rig->pool->meta, rig_pool_drive(rig, 0)->meta.root, path, &node));
    return node;
}

/* Symlinks for all leaves of the file. */
static mrmr_err point(struct rig *rig, const char *path, char kept[POOL_RETAINED_PATH])
{
    struct pool_retained_leaf leaf[64];
    struct meta_node node = node_at(rig, path);
    struct meta_extent *extents;
    size_t n, leaves = 0;
    rig_ok(meta_extents_of(rig->pool->meta, node.id, &extents, &n));
    for (size_t e = 0; e < n; e++)
        for (uint64_t i = 0; i < extents[e].leaves; i++)
            leaf[leaves++] = (struct pool_retained_leaf){
                extents[e].first + i, pool_leaf_size(&extents[e], i), extents[e].digests[i]};
    free(extents);
    return pool_retained_point(rig_pool_drive(rig, 0)->drv, leaf, leaves, kept);
}

static void touch_inode(struct rig *rig, const struct meta_node *node)
{
    int fd;
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, node->drive, node->ino));
    close(fd);
}

/* And then the rename. */
static mrmr_err delete (struct rig *rig, const char *path)
{
    char kept[POOL_RETAINED_PATH];
    MRMR_TRY(point(rig, path, kept));
    return drv_rename(rig_pool_drive(rig, 0)->drv, path, kept, DRV_RENAME_REPLACE);
}

static struct rig *begin(enum rig_kind kind, uint64_t seed)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = kind, .drives = DRIVES, .seed = seed});
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, FILE_LEAVES * RIG_MIB - 100);
    }
    rig_protect_all(rig);
    return rig;
}

static void test_overwritten(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 71);
    rig_ok(save(rig, "f0", 1, 2));
    rig_edit(rig, "f0", RIG_MIB + 10, 100);
    nobody_suffers(rig, "f0");
}

static void test_cut_short(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 72);
    rig_ok(save(rig, "f0", 0, FILE_LEAVES));
    rig_truncate(rig, "f0", 1000);
    nobody_suffers(rig, "f0");
}

static void test_saved_twice_and_appended(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 73);
    rig_ok(save(rig, "f0", 2, 3));
    unsigned n = count_retained(rig, 0);
    rig_ok(save(rig, "f0", 2, 3));
    assert_int_equal(count_retained(rig, 0), n);
    rig_edit(rig, "f0", 2 * RIG_MIB, 1);
    rig_ok(save(rig, "f0", 0, FILE_LEAVES)); /* what was changed by now is not saved over it */
    assert_int_equal(count_retained(rig, 0), n + 2);
    rig_append(rig, "f0", RIG_MIB);
    nobody_suffers(rig, "f0");
}

static void test_deleted(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 74);
    rig_put(rig, 0, "other", 5000); /* so that the drive is not empty afterwards */
    rig_protect_all(rig);
    rig_ok(delete (rig, "f0"));
    rig_find(rig, "f0")->there = false;
    nobody_suffers(rig, "f0");
}

/* --- a file with two names --- */

enum how { UNLINKED, REPLACED };

/* One of them goes, past MRMR or through it: nothing has to be kept, for the other still leads to the
 * bytes. Before the scan as after it. */
static void one_name_goes(const char *other, enum how how, bool through_mrmr)
{
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = 79});
    struct drv *raw = rig->drive[0].raw;
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, FILE_LEAVES * RIG_MIB - 100);
    }
    rig_ok(drv_link(raw, "f0", other));
    rig_protect_all(rig);
    rig_put(rig, 0, "n", 5000);
    struct meta_node node = node_at(rig, "f0");
    assert_int_equal(node_at(rig, other).id, node.id);
    if (through_mrmr)
        touch_inode(rig, &node);
    if (how == UNLINKED)
        rig_ok(drv_unlink(raw, "f0"));
    else
        rig_ok(drv_rename(raw, "n", "f0", DRV_RENAME_REPLACE));
    struct rig_file *file = rig_find(rig, "f0"), *replaced = rig_find(rig, "n");
    file->there = replaced->there = false; /* the catalog knows them not, or not so */
    reads_all_but(rig, NULL, 0);
    no_new_rows(rig);
    rig_sync(rig);
    assert_int_equal(rig->report.held, 0);
    assert_int_equal(node_at(rig, other).id, node.id);
    snprintf(file->path, sizeof file->path, "%s", other);
    file->there = true;
    replaced->there = how == UNLINKED;
    assert_string_equal(rig_states(rig, other), "LLL");
    reads_all_but(rig, NULL, 0);
    for (unsigned d = 1; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        struct meta_stripe image = rig_stripe_of(rig, path, 0);
        assert_int_equal(pool_image_margin(rig->pool, &image), 2);
        meta_stripe_free(&image);
    }
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

static void test_one_of_two_names_goes(void **state)
{
    (void)state;
    for (int through_mrmr = 0; through_mrmr < 2; through_mrmr++)
        for (int how = UNLINKED; how <= REPLACED; how++) {
            one_name_goes("z", (enum how)how, through_mrmr); /* the catalog's path is f0 */
            one_name_goes("a", (enum how)how, through_mrmr); /* it is a */
        }
}

/* A whole file that is retained, and then written to by someone who still has it open. */
static void test_deleted_and_written_to(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 75);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    struct drv *drv = rig_pool_drive(rig, 0)->drv;
    struct meta_node node = rig_node(rig, "f0");
    struct meta_extent *extents;
    struct drv_file *file;
    size_t n;
    rig_ok(drv_file_open(drv, "f0", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file));
    rig_ok(meta_extents_of(rig->pool->meta, node.id, &extents, &n));
    rig_ok(delete (rig, "f0"));
    rig_find(rig, "f0")->there = false;
    rig_ok(pool_retained_save_leaves(drv, file, extents, n, 1, 2));
    rig_ok(drv_file_write(file, RIG_MIB + 7, "written", 7));
    drv_file_close(file);
    free(extents);
    nobody_suffers(rig, "f0");
}

/* What came after the job had looked, or was needed anew since, is not let go of. */
static void test_release_leaves_what_is_new(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 76);
    struct drv *drv = rig_pool_drive(rig, 0)->drv;
    static const char text[3][8] = {"one", "two", "three"};
    struct mrmr_digest digest[3];
    uint8_t got[8];
    struct pool_retained *retained;
    for (unsigned i = 0; i < 3; i++)
        digest[i] = mrmr_digest_of(text[i], 8);
    rig_ok(pool_retained_save(drv, &digest[0], text[0], 8));
    rig_ok(pool_retained_save(drv, &digest[1], text[1], 8));
    rig_ok(pool_retained_list(rig->pool, &retained));
    struct pool_sync_report report;
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    rig_ok(pool_retained_save(drv, &digest[1], text[1], 8));
    rig_ok(pool_retained_save(drv, &digest[2], text[2], 8));
    rig_ok(pool_retained_release(rig->pool, &job, retained));
    pool_retained_free(retained);
    assert_int_equal(pool_retained_read(drv, &digest[0], got, 8), MRMR_ABSENT);
    rig_ok(pool_retained_read(drv, &digest[1], got, 8));
    rig_ok(pool_retained_read(drv, &digest[2], got, 8));
    assert_memory_equal(got, text[2], 8);
    /* One that was being made when the power went. */
    char temp[POOL_RETAINED_PATH];
    struct drv_file *file;
    snprintf(temp, sizeof temp, POOL_RETAINED "/ab/ab~0123456789abcdef");
    rig_ok(drv_mkdirs(rig->drive[0].raw, POOL_RETAINED "/ab", 0700));
    rig_ok(drv_file_open(rig->drive[0].raw, temp, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
    rig_sync(rig);
    assert_int_equal(count_retained(rig, 0), 0);
    rig_destroy(rig);
}

/* The scan has not seen the change yet, as when it could not look into a folder: what is LIVE to the
 * catalog is looked for in its place. Of two files with the same bytes each needs them. */
static void test_release_looks_for_what_is_live(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 82);
    struct pool_job job = rig_job(rig);
    struct pool_retained *retained;
    rig_ok(save(rig, "f0", 0, 2));
    unsigned n = count_retained(rig, 0);
    rig_edit(rig, "f0", 10, 10);
    rig_ok(pool_retained_list(rig->pool, &retained));
    rig_ok(pool_retained_release(rig->pool, &job, retained));
    pool_retained_free(retained);
    assert_int_equal(count_retained(rig, 0), n - 1); /* leaf 1 is in its place */
    reads_all_but(rig, "f0", 0);
    rig_destroy(rig);
}

static void copy_on_drive(struct rig *rig, unsigned drive, const char *from, const char *to)
{
    static uint8_t buf[FILE_LEAVES * RIG_MIB];
    struct drv *raw = rig->drive[drive].raw;
    struct drv_file *file;
    struct drv_stat stat;
    rig_ok(drv_stat(raw, from, &stat));
    rig_ok(drv_file_open(raw, from, DRV_OPEN_READ, 0, &file));
    rig_ok(drv_file_read_exact(file, 0, buf, stat.size));
    drv_file_close(file);
    rig_ok(drv_file_open(raw, to, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, buf, stat.size));
    rig_ok(drv_file_sync(file));
    drv_file_close(file);
}

/* The power goes when symlinks for the second are made: those of the first still lead to it. */
static void test_the_same_bytes_twice(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 83);
    char kept[POOL_RETAINED_PATH];
    copy_on_drive(rig, 0, "f0", "copy");
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete (rig, "f0"));
    rig_find(rig, "f0")->there = false;
    rig_ok(point(rig, "copy", kept));
    reads_all_but(rig, NULL, 0);
    rig_ok(drv_rename(rig_pool_drive(rig, 0)->drv, "copy", kept, DRV_RENAME_REPLACE));
    nobody_suffers(rig, "f0");
}

/* A symlink that leads to other bytes than its name says protects nobody: it is led to the file that
 * has them. */
static void test_the_same_bytes_but_changed(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 84);
    struct drv *raw = rig->drive[0].raw;
    static uint8_t noise[FILE_LEAVES * RIG_MIB - 100];
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    char path[POOL_RETAINED_PATH];
    struct drv_file *file;
    copy_on_drive(rig, 0, "f0", "copy");
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete (rig, "f0"));
    rig_find(rig, "f0")->there = false;
    rig_ok(drv_list(raw, POOL_RETAINED_FILES, list_name, &names));
    snprintf(path, sizeof path, POOL_RETAINED_FILES "/%.40s", names.data);
    mrmr_bytes_free(&names);
    rig_ok(drv_file_open(raw, path, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 0, noise, sizeof noise));
    drv_file_close(file);
    rig_ok(delete (rig, "copy"));
    nobody_suffers(rig, "f0");
}

/* What was retained and is not there any more: whoever looks says so, and a scrub counts it as gone;
 * so does a rebuild of the drive. */
static void lose_retained(struct rig *rig)
{
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct drv *raw = rig->drive[0].raw;
    rig_ok(drv_list(raw, POOL_RETAINED_FILES, list_name, &names));
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1) {
        char path[POOL_RETAINED_PATH];
        snprintf(path, sizeof path, POOL_RETAINED_FILES "/%.40s", names.data + at);
        rig_ok(drv_unlink(raw, path));
    }
    mrmr_bytes_free(&names);
}

static int margin_of(struct rig *rig, const char *path)
{
    struct meta_stripe image = rig_stripe_of(rig, path, 0);
    int margin = pool_image_margin(rig->pool, &image);
    meta_stripe_free(&image);
    return margin;
}

/* A file whose block is in the stripe of f0. */
static const char *beside_f0(struct rig *rig)
{
    const char *beside = NULL;
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    for (unsigned d = 1; d < DRIVES && !beside; d++)
        if (pool_image_block(&image, rig_pool_drive(rig, d)->meta.id))
            beside = rig->file[d].path;
    meta_stripe_free(&image);
    assert_non_null(beside);
    return beside;
}

static void test_retained_bytes_are_lost(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 85);
    char finding[512];
    const char *beside = beside_f0(rig);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete (rig, "f0"));
    rig_find(rig, "f0")->there = false;
    no_new_rows(rig);
    rig_sync(rig);
    assert_int_equal(margin_of(rig, beside), 2);
    assert_int_equal(rig_findings(rig, true, finding), 0);
    lose_retained(rig);
    assert_true(rig_findings(rig, true, finding) > 0);
    rig_scrub(rig, false);
    assert_int_equal(margin_of(rig, beside), 1);
    assert_int_equal(rig_findings(rig, true, finding), 0);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* --- kept, by its name and size, and not by its bytes --- */

/* Other bytes, in the whole file that was kept, or in the first leaf that was saved by itself. */
static void rot_retained(struct rig *rig, bool whole)
{
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct drv *raw = rig->drive[0].raw;
    struct drv_file *file = NULL;
    char folder[POOL_RETAINED_PATH] = POOL_RETAINED_FILES, path[POOL_RETAINED_PATH + 80];
    if (!whole) {
        rig_ok(drv_list(raw, POOL_RETAINED, list_name, &names));
        snprintf(folder, sizeof folder, POOL_RETAINED "/%.80s", names.data);
        mrmr_bytes_clear(&names);
    }
    rig_ok(drv_list(raw, folder, list_name, &names));
    snprintf(path, sizeof path, "%s/%.70s", folder, names.data);
    mrmr_bytes_free(&names);
    rig_ok(drv_file_open(raw, path, DRV_OPEN_WRITE, 0, &file));
    for (uint64_t leaf = 0; leaf < (whole ? FILE_LEAVES : 1); leaf++)
        rig_ok(drv_file_write(file, leaf * RIG_MIB + 5, "rot", 3));
    drv_file_close(file);
}

/* Whoever reads what is kept holds no transaction meanwhile. */
static void no_transaction(void *arg, enum drv_fault_op op, const char *path)
{
    struct rig *rig = arg;
    (void)op, (void)path;
    rig_ok(meta_begin(rig->pool->meta));
    rig_ok(meta_commit(rig->pool->meta));
}

static void test_a_scan_reads_what_is_kept(void **state)
{
    (void)state;
    for (int rotten = 0; rotten < 2; rotten++) {
        struct rig *rig = begin(RIG_LOCAL, 88);
        struct pool_job job = rig_job(rig);
        const char *beside = beside_f0(rig);
        unsigned id;
        rig_put(rig, 0, "other", 5000);
        rig_protect_all(rig);
        rig_ok(delete (rig, "f0"));
        rig_find(rig, "f0")->there = false;
        if (rotten)
            rot_retained(rig, true);
        const struct drv_fault_rule read = {.ops = DRV_FAULT_FILE_READ,
            .prefix = POOL_RETAINED,
            .action = DRV_FAULT_HOOK,
            .hook = no_transaction,
            .arg = rig};
        rig_ok(drv_fault_add(rig->drive[0].fault, &read, &id));
        rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
        assert_int_equal(rig->report.vanished, 1);
        assert_int_equal(drv_fault_hits(rig->drive[0].fault, id), FILE_LEAVES);
        assert_int_equal(margin_of(rig, beside), rotten ? 1 : 2);
        rig_clear_faults(rig);
        rig_protect_all(rig);
        rig_check(rig);
        rig_verify(rig, true);
        rig_destroy(rig);
    }
}

/* What nothing is kept of is not looked for byte by byte. */
static void test_a_scan_reads_nothing_else(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 89);
    struct pool_job job = rig_job(rig);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(save(rig, "other", 0, 1));
    rig_unlink(rig, "f0");
    unsigned reads = rig_count_reads(rig, 0, POOL_RETAINED);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    assert_int_equal(rig->report.vanished, 1);
    assert_int_equal(rig_reads(rig, 0, reads), 0);
    rig_destroy(rig);
}

static void test_a_comparison_reads_what_is_kept(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 90);
    const char *beside = beside_f0(rig);
    rig_ok(save(rig, "f0", 0, 1));
    rot_retained(rig, false);
    rig_edit(rig, "f0", 10, 100);
    no_new_rows(rig);
    rig_sync(rig);
    assert_int_equal(margin_of(rig, beside), 1);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* Rows beyond the redundancy may be what is left: they do not go for bytes that are said to be kept.
 */
static void test_rows_are_not_dropped_for_what_is_said_to_be_kept(void **state)
{
    (void)state;
    for (int rotten = 0; rotten < 2; rotten++) {
        struct rig *rig = begin(RIG_LOCAL, 92);
        const char *beside = beside_f0(rig);
        rig_put(rig, 0, "other", 5000);
        rig_protect_all(rig);
        rig_ok(delete (rig, "f0"));
        rig_find(rig, "f0")->there = false;
        no_new_rows(rig);
        rig_sync(rig);
        assert_int_equal(margin_of(rig, beside), 2);
        if (rotten)
            rot_retained(rig, true);
        rig_ok(pool_set_redundancy(rig->pool, 1));
        rig_sync(rig);
        assert_int_equal(margin_of(rig, beside), 1);
        struct meta_stripe image = rig_stripe_of(rig, beside, 0);
        assert_int_equal(image.rows, rotten ? 2 : 1);
        meta_stripe_free(&image);
        for (unsigned d = 1; d < DRIVES; d++) {
            rig_take_away(rig, d);
            reads_but(rig, NULL);
            rig_bring_back(rig, d);
            pool_views_forget(rig->pool, 0);
        }
        rig_clear_faults(rig);
        rig_protect_all(rig);
        rig_check(rig);
        rig_verify(rig, true);
        rig_destroy(rig);
    }
}

static void test_the_drive_is_lost(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 86);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    char finding[512];
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete (rig, "f0"));
    rig_find(rig, "f0")->there = false;
    no_new_rows(rig);
    rig_sync(rig);
    rig_close(rig);
    rig_take_away(rig, 0);
    rig_open(rig);
    unsigned fresh = rig_add_drive(rig);
    char name[16];
    snprintf(name, sizeof name, "d%u", fresh);
    no_new_rows(rig);
    rig_ok(pool_rebuild(
        rig->pool, &job, &(struct pool_rebuild_options){.drive = "d0", .onto = name}, &report));
    assert_int_equal(rig_findings(rig, true, finding), 0);
    rig_clear_faults(rig);
    rig_destroy(rig);
}

/* Not to know where a symlink leads is not to know that it leads nowhere. */
static void test_release_in_the_dark(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 87);
    const struct drv_fault_rule dark = {
        .ops = DRV_FAULT_READLINK, .prefix = POOL_RETAINED, .err = MRMR_SPACE};
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete (rig, "f0"));
    rig_find(rig, "f0")->there = false;
    no_new_rows(rig);
    rig_sync(rig);
    rig_ok(drv_fault_add(rig->drive[0].fault, &dark, NULL));
    rig_sync(rig);
    rig_clear_faults(rig);
    assert_true(count_retained(rig, 0) > FILE_LEAVES); /* the symlinks, and the file */
    reads_all_but(rig, NULL, 0);
    rig_destroy(rig);
}

/* The first folder of saved leaves; as it cannot be listed. */
static unsigned darken_a_folder(struct rig *rig, mrmr_err err)
{
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    char folder[POOL_RETAINED_PATH];
    unsigned n = 0;
    const char *name;
    rig_ok(drv_list(rig->drive[0].raw, POOL_RETAINED, list_name, &names));
    for (name = names.data; strcmp(name, "files") == 0; name += strlen(name) + 1)
        ;
    snprintf(folder, sizeof folder, POOL_RETAINED "/%.80s", name);
    mrmr_bytes_free(&names);
    rig_ok(drv_list(rig->drive[0].raw, folder, count_entry, &n));
    const struct drv_fault_rule dark = {.ops = DRV_FAULT_LIST, .prefix = folder, .err = err};
    rig_ok(drv_fault_add(rig->drive[0].fault, &dark, NULL));
    return n;
}

/* Only what is in it stays. */
static void test_release_beside_a_dark_folder(void **state)
{
    (void)state;
    static const mrmr_err errs[] = {MRMR_DENIED, MRMR_IO, MRMR_LOOP};
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++) {
        struct rig *rig = begin(RIG_MEM, 96);
        rig_ok(save(rig, "f0", 0, FILE_LEAVES));
        assert_int_equal(count_retained(rig, 0), FILE_LEAVES);
        unsigned dark = darken_a_folder(rig, errs[i]);
        assert_true(dark < FILE_LEAVES);
        rig_sync(rig);
        assert_int_equal(count_retained(rig, 0), dark);
        rig_clear_faults(rig);
        rig_sync(rig);
        assert_int_equal(count_retained(rig, 0), 0);
        rig_destroy(rig);
    }
}

/* What cannot be seen may lead to any file. */
static void test_release_does_not_guess_what_leads_to_a_file(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 97);
    unsigned files = 0;
    rig_put(rig, 0, "one", 5000);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete (rig, "one"));
    rig_find(rig, "one")->there = false;
    no_new_rows(rig);
    assert_int_equal(darken_a_folder(rig, MRMR_DENIED), 1);
    rig_sync(rig);
    rig_sync(rig);
    rig_ok(drv_list(rig->drive[0].raw, POOL_RETAINED_FILES, count_entry, &files));
    assert_int_equal(files, 1);
    reads_all_but(rig, NULL, 0);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_sync(rig);
    assert_int_equal(count_retained(rig, 0), 0);
    rig_destroy(rig);
}

/* Nothing that lies there is believed, nor led out of the folder by. */
static void test_hostile(void **state)
{
    (void)state;
    static const char *const targets[] = {"../files/0123456789abcdef#0", "../../../f1#0",
        "../files/0123456789abcdef", "../files/0123456789abcdef#99999999999999999999",
        "../files/0123456789abcdef#-1", "../files/../../drive#0", "", "/etc/passwd"};
    struct rig *rig = begin(RIG_LOCAL, 77);
    struct drv *drv = rig_pool_drive(rig, 0)->drv, *raw = rig->drive[0].raw;
    static uint8_t buf[RIG_LEAF];
    struct mrmr_digest digest = mrmr_digest_of("bytes", 5);
    char path[POOL_RETAINED_PATH], hex[2 * MRMR_DIGEST_SIZE + 1];
    rig_ok(pool_retained_save(drv, &digest, "bytes", 5));
    rig_ok(pool_retained_read(drv, &digest, buf, 5));
    for (size_t i = 0; i < MRMR_DIGEST_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest.bytes[i]);
    snprintf(path, sizeof path, POOL_RETAINED "/%.2s/%s", hex, hex);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        rig_ok(drv_unlink(raw, path));
        if (*targets[i])
            rig_ok(drv_symlink(raw, targets[i], path));
        else
            rig_ok(drv_mkdir(raw, path, 0700));
        assert_true(pool_retained_read(drv, &digest, buf, 5) != MRMR_OK);
        if (!*targets[i]) {
            rig_ok(drv_rmdir(raw, path));
            rig_ok(drv_symlink(raw, "x", path));
        }
    }
    rig_ok(drv_unlink(raw, path));
    struct drv_file *file;
    rig_ok(drv_file_open(raw, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, "lies!", 5));
    drv_file_close(file);
    assert_int_equal(pool_retained_read(drv, &digest, buf, 5), MRMR_DIGEST);
    rig_ok(pool_retained_save(drv, &digest, "bytes", 5)); /* made anew */
    rig_ok(pool_retained_read(drv, &digest, buf, 5));
    rig_sync(rig);
    assert_int_equal(count_retained(rig, 0), 0);
    rig_destroy(rig);
}

/* --- no hold --- */

enum { MANY = 40 };

static void touch(struct rig *rig, const char *path)
{
    struct meta_node node = rig_node(rig, path);
    touch_inode(rig, &node);
}

/* All files of a drive go, and one of another is cut short with an older time; through MRMR or by someone else.
 * How many files and drives are held. */
static uint64_t much_changes(bool through_mrmr, uint64_t *ret_drives)
{
    struct rig *rig = rig_create(&(struct rig_spec){.drives = DRIVES, .seed = 81});
    char path[32];
    for (unsigned d = 0; d < DRIVES; d++)
        for (unsigned i = 0; i < (d ? 3 : MANY); i++) {
            snprintf(path, sizeof path, "d%u/%u", d, i);
            rig_put(rig, d, path, 3000);
        }
    rig_protect_all(rig);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "d0/%u", i);
        if (through_mrmr) {
            touch(rig, path);
            rig_ok(delete (rig, path));
            rig_find(rig, path)->there = false;
        } else {
            rig_unlink(rig, path);
        }
    }
    int64_t mtime = rig_mtime(rig, "d1/0");
    if (through_mrmr) {
        touch(rig, "d1/0");
        rig_ok(save(rig, "d1/0", 0, 1));
    }
    rig_truncate(rig, "d1/0", 100);
    rig_set_mtime(rig, "d1/0", mtime - MRMR_NS_PER_S);
    rig_sync(rig);
    uint64_t held = rig->report.held;
    *ret_drives = rig->report.drives_held;
    if (through_mrmr) {
        assert_int_equal(rig->report.vanished, MANY);
        rig_protect_all(rig);
        rig_check(rig);
        rig_verify(rig, true);
        /* What was touched once is not so for ever. */
        rig_put(rig, 1, "d1/new", 3000);
        rig_protect_all(rig);
        mtime = rig_mtime(rig, "d1/0");
        rig_truncate(rig, "d1/0", 50);
        rig_set_mtime(rig, "d1/0", mtime);
        rig_sync(rig);
        assert_int_equal(rig->report.held, 1);
    }
    rig_destroy(rig);
    return held;
}

static void test_what_is_done_through_mrmr_is_not_held(void **state)
{
    uint64_t drives;
    (void)state;
    assert_int_equal(much_changes(true, &drives), 0);
    assert_int_equal(drives, 0);
    assert_true(much_changes(false, &drives) > 0);
    assert_int_equal(drives, 1);
}

/* --- a time that is set back --- */

/* As drives are on which nothing else tells of a write. Until the pool is opened anew. */
static void no_ctime(struct rig *rig)
{
    for (unsigned d = 0; d < rig->n; d++)
        rig_pool_drive(rig, d)->info.caps &= ~(uint32_t)DRV_CAP_STABLE_CTIME;
}

/* On drive 0, through MRMR, and the user, or a program of the user's, sets the time. */
static void edit_in_hiding(struct rig *rig, const char *path, uint64_t leaf)
{
    int64_t mtime = rig_mtime(rig, path);
    touch(rig, path);
    rig_ok(save(rig, path, leaf, leaf + 1));
    rig_edit(rig, path, leaf * RIG_MIB + 10, 100);
    rig_set_mtime(rig, path, mtime);
    /* A drive without a ctime gives none. */
    struct meta_node node = rig_node(rig, path);
    struct drv_stat stat;
    rig_ok(drv_stat(rig->drive[0].raw, path, &stat));
    node.ctime = stat.ctime;
    rig_ok(meta_node_store(rig->pool->meta, &node));
}

static uint64_t touched_size(struct rig *rig)
{
    uint64_t size;
    rig_ok(pool_touched_size(rig->pool, &size));
    return size;
}

static void test_a_scan_sees_what_hides(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 93);
    no_ctime(rig);
    edit_in_hiding(rig, "f0", 1);
    rig_sync(rig);
    assert_int_equal(rig->report.changed, 1);
    assert_int_equal(rig->report.held, 0);
    assert_int_equal(touched_size(rig), 0);
    rig_protect_all(rig);
    rig_sync(rig);
    assert_int_equal(rig->report.changed, 0);
    assert_int_equal(count_retained(rig, 0), 0);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* What the scan cannot look at it has not seen: it is told of it again. */
static void test_what_hides_where_a_scan_cannot_look(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 94);
    const struct drv_fault_rule dark = {
        .ops = DRV_FAULT_LIST, .prefix = "folder", .err = MRMR_DENIED};
    rig_put(rig, 0, "folder/file", 2 * RIG_MIB);
    rig_protect_all(rig);
    no_ctime(rig);
    edit_in_hiding(rig, "folder/file", 1);
    rig_ok(drv_fault_add(rig->drive[0].fault, &dark, NULL));
    rig_sync(rig);
    assert_int_equal(rig->report.changed, 0);
    assert_true(touched_size(rig) > 0);
    rig_clear_faults(rig);
    rig_sync(rig);
    assert_int_equal(rig->report.changed, 1);
    assert_int_equal(touched_size(rig), 0);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

static void test_a_scrub_does_not_repair_what_hides(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 95);
    no_ctime(rig);
    edit_in_hiding(rig, "f0", 1);
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_int_equal(report.edited, 1);
    assert_int_equal(report.damaged + report.repaired, 0);
    rig_check_originals(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* --- the power --- */

static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)rig;
    drv_fault_add(drive->fault, &rule, NULL);
}

/* Saved, then written in place at once; or deleted. */
static mrmr_err change(struct rig *rig, bool deletes)
{
    struct drv *drv = rig_pool_drive(rig, 0)->drv;
    static uint8_t noise[2 * RIG_MIB];
    struct drv_file *file = NULL;
    if (deletes) {
        MRMR_TRY(delete (rig, "f0"));
        return drv_dir_sync(drv, POOL_RETAINED_FILES); /* the rename stays */
    }
    MRMR_TRY(save(rig, "f0", 0, 2));
    MRMR_TRY(drv_file_open(drv, "f0", DRV_OPEN_WRITE, 0, &file));
    mrmr_err err = drv_file_write(file, 0, noise, sizeof noise);
    drv_file_close(file);
    return err;
}

/* The power goes at call n; true: the change was through before. */
static bool power_goes_at(uint64_t n, bool late, bool deletes, uint64_t seed)
{
    struct rig *rig = begin(RIG_MEM_CUT, 78);
    rig_sync_drives(rig);
    rig_tap(rig, RIG_CUTS, n, late, tap_cut);
    bool through = change(rig, deletes) == MRMR_OK && rig->tap_left;
    rig_close(rig);
    rig_clear_faults(rig);
    rig_power_cut(rig, seed);
    rig_open(rig);
    reads_without(rig, 1 + seed % 4, 1 + (seed / 4) % 4, "f0", 0);
    rig_destroy(rig);
    return through;
}

static void test_power_cuts(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("power_cuts"), cuts = 0;
    /* Normally at every third call. */
    const uint64_t step = rig_rounds(1) > 1 ? 1 : 3;
    for (int deletes = 0; deletes < 2; deletes++)
        for (int late = 0; late < 2; late++) {
            uint64_t n = rig_hash(seed + (uint64_t)(2 * deletes + late)) % step;
            while (!power_goes_at(n, late, deletes, rig_hash(seed + cuts++)))
                assert_true((n += step) < 1000);
            assert_true(n > (deletes ? 3 : 5)); /* it was cut, and often */
        }
    printf("%" PRIu64 " cuts\n", cuts);
}

/* --- writers and commits --- */

struct late_write {
    struct rig *rig;
    struct pool_writers *writers;
    bool hides;
    atomic_bool done;
};

/* A write to a file whose bytes are all read by now, before its stripe is committed. */
static void write_late(void *arg, enum drv_fault_op op, const char *path)
{
    struct late_write *late = arg;
    uint64_t epoch;
    (void)op, (void)path;
    if (atomic_exchange(&late->done, true))
        return;
    rig_ok(pool_writers_enter(late->writers, &epoch));
    int64_t mtime = rig_mtime(late->rig, "f0");
    if (late->hides)
        touch(late->rig, "f0");
    rig_edit(late->rig, "f0", RIG_MIB + 1, 10);
    if (late->hides)
        rig_set_mtime(late->rig, "f0", mtime);
    pool_writers_leave(late->writers);
}

static void late_write_cancels(bool hides)
{
    struct rig *rig = rig_create(&(struct rig_spec){.drives = DRIVES, .seed = 80});
    struct late_write late = {.rig = rig, .hides = hides};
    const struct drv_fault_rule when_named = {.ops = DRV_FAULT_RENAME,
        .prefix = ".mrmr/parity",
        .action = DRV_FAULT_HOOK,
        .hook = write_late,
        .arg = &late};
    for (unsigned d = 0; d < 2; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 2 * RIG_MIB);
    }
    if (hides)
        no_ctime(rig);
    rig_ok(pool_writers_open(rig->pool->dirfd, &late.writers));
    for (unsigned d = 0; d < DRIVES; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &when_named, NULL));
    struct pool_job job = rig_job(rig);
    struct pool_sync_report report;
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    rig_ok(pool_protect(rig->pool, &job, &report));
    assert_true(late.done);
    assert_null(strchr(rig_states(rig, "f0"), 'L'));
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    pool_writers_close(late.writers);
    rig_destroy(rig);
}

static void test_a_write_before_the_commit_cancels_the_claim(void **state)
{
    (void)state;
    late_write_cancels(false);
    late_write_cancels(true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overwritten),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_saved_twice_and_appended),
        cmocka_unit_test(test_deleted),
        cmocka_unit_test(test_one_of_two_names_goes),
        cmocka_unit_test(test_deleted_and_written_to),
        cmocka_unit_test(test_release_leaves_what_is_new),
        cmocka_unit_test(test_release_looks_for_what_is_live),
        cmocka_unit_test(test_the_same_bytes_twice),
        cmocka_unit_test(test_the_same_bytes_but_changed),
        cmocka_unit_test(test_retained_bytes_are_lost),
        cmocka_unit_test(test_a_scan_reads_what_is_kept),
        cmocka_unit_test(test_a_scan_reads_nothing_else),
        cmocka_unit_test(test_a_comparison_reads_what_is_kept),
        cmocka_unit_test(test_rows_are_not_dropped_for_what_is_said_to_be_kept),
        cmocka_unit_test(test_the_drive_is_lost),
        cmocka_unit_test(test_release_in_the_dark),
        cmocka_unit_test(test_release_beside_a_dark_folder),
        cmocka_unit_test(test_release_does_not_guess_what_leads_to_a_file),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_what_is_done_through_mrmr_is_not_held),
        cmocka_unit_test(test_a_scan_sees_what_hides),
        cmocka_unit_test(test_what_hides_where_a_scan_cannot_look),
        cmocka_unit_test(test_a_scrub_does_not_repair_what_hides),
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_a_write_before_the_commit_cancels_the_claim),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_retained", tests, NULL, NULL);
}
