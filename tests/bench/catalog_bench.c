/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Measures a catalog of many files: how big it is, how long its life takes, how much memory. Prints
 * what docs/CATALOG.md quotes.
 *
 *     catalog_bench FOLDER [FILES]       FOLDER is made and left behind with the catalog in it;
 * FILES defaults to 1,000,000
 *
 * The files are photos/2024/0001/img_1.cr2 …, 1,000 a folder, one leaf of 900,000 bytes each, on
 * six drives, and protected in stripes of four blocks of 320 extents. Then a thousand stripes of 16
 * blocks with one extent of 32 leaves each: what a MiB of large files costs.
 */
#include "base/clock.h"
#include "meta/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { DRIVES = 16, FILE_DRIVES = 6, BLOCKS = 4, PER_BLOCK = 320, PER_FOLDER = 1000, BIG = 1000 };
#define FILE_SIZE UINT64_C(900000)

static struct meta *meta;
static char path[512];
static struct meta_drive drives[DRIVES];
static int64_t since;

static void must(mrmr_err err, const char *what)
{
    if (!err)
        return;
    char text[1024];
    fprintf(stderr, "%s: %s\n", what, mrmr_story_print(mrmr_story_get(), text, sizeof text));
    exit(1);
}
#define MUST(expr) must((expr), #expr)

static double file_mib(void)
{
    struct stat st;
    double bytes = stat(path, &st) ? 0 : (double)st.st_size;
    return bytes / (1 << 20);
}

static void report(const char *what)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    int64_t now = mrmr_clock_monotonic();
    printf("%-34s %8.2f s   peak memory %4ld MiB   catalog %7.1f MiB\n", what,
        (double)(now - since) / 1e9, usage.ru_maxrss / 1024, file_mib());
    fflush(stdout);
    since = mrmr_clock_monotonic();
}

static void reopen(void)
{
    meta_close(meta);
    MUST(meta_open(path, 0, &meta));
}

static void make_drives(void)
{
    static char uri[] = "/bench";
    for (int i = 0; i < DRIVES; i++) {
        drives[i] = (struct meta_drive){.uri = uri, .slot = (uint8_t)i, .present = true};
        snprintf(drives[i].name, sizeof drives[i].name, "drive%d", i);
        MUST(mrmr_uuid_make(&drives[i].uuid));
        MUST(meta_drive_add(meta, &drives[i]));
    }
}

static struct meta_node node_like(const struct meta_drive *drive, enum meta_type type, uint64_t i)
{
    return (struct meta_node){.drive = drive->id,
        .type = type,
        .mode = type == META_DIR ? 0755 : 0644,
        .uid = 1000,
        .gid = 1000,
        .nlink = 1,
        .size = type == META_DIR ? 4096 : FILE_SIZE,
        .ino = 100000 + i,
        .mtime = INT64_C(1700000000123456789) + (int64_t)i * 1000003,
        .ctime = INT64_C(1720000000123456789) + (int64_t)i * 1000003,
        .btime = INT64_C(1720000000123456789) + (int64_t)i * 1000003,
        .version = 1};
}

static int64_t folder(const struct meta_drive *drive, int64_t parent, const char *name)
{
    struct meta_node node;
    if (meta_lookup(meta, parent, name, &node) == MRMR_OK)
        return node.id;
    node = node_like(drive, META_DIR, 0);
    MUST(meta_node_add(meta, &node, parent, name));
    return node.id;
}

/* As a scan does: node, name, exposed range. */
static void insert_files(uint64_t files)
{
    int64_t parent = 0;
    MUST(meta_begin(meta));
    for (uint64_t i = 0; i < files; i++) {
        const struct meta_drive *drive = &drives[i / PER_FOLDER % FILE_DRIVES];
        char name[64];
        if (i % PER_FOLDER == 0) {
            snprintf(name, sizeof name, "%04u", (unsigned)(i / PER_FOLDER));
            parent =
                folder(drive, folder(drive, folder(drive, drive->root, "photos"), "2024"), name);
        }
        struct meta_node node = node_like(drive, META_REG, i);
        snprintf(name, sizeof name, "img_%llu.cr2", (unsigned long long)i);
        MUST(meta_node_add(meta, &node, parent, name));
        struct meta_exposed range = {drive->id, node.id, 0, 1, FILE_SIZE, node.mtime};
        MUST(meta_expose(meta, &range));
        if (i % 50000 == 49999)
            MUST(meta_checkpoint(meta));
    }
    MUST(meta_commit(meta));
}

/* The next exposed files of a drive as one block of a stripe. */
static size_t take_block(const struct meta_drive *drive, int64_t *after, struct meta_stripe *s,
    struct meta_claim claims[], struct mrmr_digest digests[])
{
    static struct meta_exposed ranges[PER_BLOCK];
    size_t n;
    MUST(meta_exposed_after(meta, drive->id, *after, UINT64_MAX >> 1, ranges, PER_BLOCK, &n));
    if (!n)
        return 0;
    *after = ranges[n - 1].node;
    s->block[s->blocks++] =
        (struct meta_block){drive->id, drive->slot, n * FILE_SIZE, n, s->extents};
    for (size_t i = 0; i < n; i++, s->extents++) {
        struct mrmr_digest *digest = &digests[s->extents];
        *digest = mrmr_digest_of(&ranges[i].node, sizeof ranges[i].node);
        claims[s->extents] = (struct meta_claim){ranges[i].node, 1, 0, 1};
        s->extent[s->extents] = (struct meta_extent){.drive = drive->id,
            .node = ranges[i].node,
            .place = i * FILE_SIZE,
            .leaves = 1,
            .bytes = FILE_SIZE,
            .version = 1,
            .digests = digest};
    }
    return n;
}

static void protect_files(void)
{
    static struct meta_extent extents[BLOCKS * PER_BLOCK];
    static struct meta_claim claims[BLOCKS * PER_BLOCK];
    static struct mrmr_digest digests[BLOCKS * PER_BLOCK];
    int64_t after[FILE_DRIVES] = {0};
    bool any = true;
    for (unsigned turn = 0; any; turn++) {
        struct meta_block blocks[BLOCKS];
        struct meta_row rows[2];
        struct meta_stripe s = {.generation = 1,
            .length = PER_BLOCK * FILE_SIZE,
            .rows = 2,
            .block = blocks,
            .row = rows,
            .extent = extents};
        MUST(mrmr_uuid_make(&s.uuid));
        for (unsigned i = 0; i < FILE_DRIVES && s.blocks < BLOCKS; i++) { /* by slot */
            unsigned d = i;
            if ((turn + d) % FILE_DRIVES >= BLOCKS && s.blocks + FILE_DRIVES - i > BLOCKS)
                continue; /* the row drives of this turn */
            take_block(&drives[d], &after[d], &s, claims, digests);
        }
        for (unsigned i = 0; i < 2; i++)
            rows[i] = (struct meta_row){
                (uint8_t)i, drives[FILE_DRIVES + (turn + i) % 6].id, META_ROW_OK, s.length};
        any = s.blocks > 0;
        if (any)
            MUST(meta_stripe_store(meta, &s, 0, claims, s.extents));
    }
}

static uint64_t scan_folder(int64_t parent)
{
    struct meta_child *children;
    size_t n;
    MUST(meta_children(meta, parent, &children, &n));
    uint64_t seen = n;
    for (size_t i = 0; i < n; i++)
        if (children[i].node.type == META_DIR)
            seen += scan_folder(children[i].node.id);
    free(children);
    return seen;
}

static mrmr_err count_brief(const struct meta_stripe_brief *brief, void *arg)
{
    *(uint64_t *)arg += brief->wanted;
    return MRMR_OK;
}

static void big_stripes(void)
{
    static struct mrmr_digest digests[32 * 14];
    static struct meta_node files[14];
    memset(digests, 0x5a, sizeof digests);
    MUST(meta_begin(meta));
    for (int i = 0; i < 14; i++) {
        files[i] = node_like(&drives[i], META_REG, 0);
        files[i].size = (uint64_t)BIG * 32 * META_LEAF;
        MUST(meta_node_add(meta, &files[i], drives[i].root, "big.mkv"));
    }
    for (int n = 0; n < BIG; n++) {
        struct meta_block blocks[14];
        struct meta_row rows[2];
        struct meta_extent extents[14];
        struct meta_stripe s = {.generation = 1,
            .length = 32 * META_LEAF,
            .blocks = 14,
            .rows = 2,
            .extents = 14,
            .block = blocks,
            .row = rows,
            .extent = extents};
        MUST(mrmr_uuid_make(&s.uuid));
        for (size_t i = 0; i < 14; i++) {
            blocks[i] = (struct meta_block){drives[i].id, drives[i].slot, s.length, 1, i};
            extents[i] = (struct meta_extent){.drive = drives[i].id,
                .node = files[i].id,
                .first = (uint64_t)n * 32,
                .leaves = 32,
                .bytes = s.length,
                .version = 1,
                .digests = &digests[i * 32]};
        }
        for (uint8_t i = 0; i < 2; i++)
            rows[i] = (struct meta_row){i, drives[14 + i].id, META_ROW_OK, s.length};
        MUST(meta_stripe_store(meta, &s, 0, NULL, 0));
    }
    MUST(meta_commit(meta));
}

int main(int argc, char **argv)
{
    uint64_t files = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000, seen = 0, wanted = 0;
    if (argc < 2 || !files || mkdir(argv[1], 0700)) {
        fprintf(stderr, "usage: catalog_bench NEW-FOLDER [FILES]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/catalog.sqlite", argv[1]);
    MUST(meta_open(path, META_CREATE, &meta));
    make_drives();
    since = mrmr_clock_monotonic();
    insert_files(files);
    reopen();
    report("insert files (first scan)");
    double inserted = file_mib();
    protect_files();
    reopen();
    report("protect them (stripes, a commit each)");
    double protected = file_mib();
    reopen();
    report("open");
    for (int i = 0; i < DRIVES; i++)
        seen += scan_folder(drives[i].root);
    report("scan (children of every folder)");
    MUST(meta_stripes(meta, count_brief, &wanted));
    report("briefs of all stripes");
    struct meta_totals totals;
    struct meta_exposed_total exposed;
    MUST(meta_totals(meta, 0, &totals));
    MUST(meta_exposed_total(meta, 0, &exposed));
    report("totals");
    struct meta_loss loss;
    for (int i = 0; i < FILE_DRIVES; i++)
        MUST(meta_losses(meta, drives[i].id, &loss, NULL, NULL));
    report("losses of all drives");
    struct meta_node node;
    struct mrmr_bytes text = MRMR_BYTES_INIT;
    for (int64_t id = 1; id <= (int64_t)files; id += 10) {
        mrmr_bytes_clear(&text);
        if (meta_node_get(meta, id, &node) == MRMR_OK)
            MUST(meta_path(meta, id, &text));
    }
    mrmr_bytes_free(&text);
    report("a tenth of all nodes and paths");
    MUST(meta_check(meta));
    report("check");
    double before = file_mib();
    big_stripes();
    reopen();
    report("1,000 stripes of 14 x 32 MiB");
    printf("files %llu, seen %llu, wanted extents %llu, exposed files left %llu, stripes %llu\n",
        (unsigned long long)files, (unsigned long long)seen, (unsigned long long)wanted,
        (unsigned long long)exposed.files, (unsigned long long)totals.stripes);
    printf("bytes a file: %.0f scanned, %.0f protected; bytes a MiB of large files: %.1f\n",
        inserted * (1 << 20) / (double)files, protected * (1 << 20) / (double)files,
        (file_mib() - before) * (1 << 20) / (BIG * 14 * 32));
    meta_close(meta);
    return 0;
}
