/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Runs every case over every driver: mem, fault over mem without a rule, local on a folder below
 * TMPDIR, the guard over mem and over local, and local on ext4, XFS and btrfs in loop mounts. With
 * SOME_KINDS, as under a sanitizer, of these three it is one by chance unless MRMR_ALL is set, since
 * they differ in the kernel more than in the driver; MRMR_SEED takes the same again.
 */
#include "contract.h"

#include "base/clock.h"
#include "drivers/fault.h"
#include "drivers/guard.h"
#include "drivers/mem.h"
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

static struct {
    const char *name;
    char host[512]; /* where roots are made; "" for drives in memory */
    bool guarded;
} kind;

static unsigned roots_made;

/* --- a root for a case --- */

static void name_root(struct contract *c)
{
    unsigned n = ++roots_made;
    c->kind = kind.name;
    if (*kind.host) {
        assert_true(strlen(kind.host) < 400);
        snprintf(c->host, sizeof c->host, "%.400s/root%u", kind.host, n);
        assert_int_equal(mkdir(c->host, 0755), 0);
        memcpy(c->uri, c->host, sizeof c->uri);
        return;
    }
    snprintf(c->uri, sizeof c->uri, "mem://root%u?size=8G", n);
    if (strcmp(kind.name, "fault") != 0)
        return;
    char name[32];
    snprintf(name, sizeof name, "root%u", n);
    assert_ok(drv_fault_create(&c->fault));
    assert_ok(drv_fault_serve(c->fault, name, c->uri));
    snprintf(c->uri, sizeof c->uri, "fault://%s", name);
}

static void open_root(struct contract *c)
{
    /* Nothing hangs here, and a slow machine is no reason to give up. */
    const struct drv_guard_options options = {.threads = 4, .deadline = INT64_C(600000000000)};
    struct drv *inner = NULL;
    assert_ok(drv_open(c->uri, &inner));
    if (!kind.guarded) {
        c->drv = inner;
        return;
    }
    assert_ok(drv_guard_create(&options, &c->drv));
    assert_ok(drv_guard_put(c->drv, inner));
}

int contract_setup(void **state)
{
    struct contract *c = calloc(1, sizeof *c);
    assert_non_null(c);
    name_root(c);
    open_root(c);
    assert_ok(drv_info(c->drv, &c->info));
    *state = c;
    return 0;
}

int contract_teardown(void **state)
{
    struct contract *c = *state;
    drv_act_as(NULL); /* a case that failed may not have come to that */
    drv_close(c->drv);
    drv_fault_destroy(c->fault);
    drv_mem_reset_all();
    if (*c->host)
        host_run((const char *const[]){"rm", "-rf", "--one-file-system", c->host, NULL});
    free(c);
    return 0;
}

void contract_reopen(struct contract *c)
{
    drv_close(c->drv);
    open_root(c);
}

bool contract_can(const struct contract *c, uint32_t caps)
{
    return (c->info.caps & caps) == caps;
}

/* --- what cases share --- */

void contract_assert_err(mrmr_err got, mrmr_err want, const char *what, const char *file, int line)
{
    char story[2048];
    if (got == want)
        return;
    print_error("%s:%d: %s\n  gave '%s', not '%s'\n", file, line, what, mrmr_err_name(got),
        mrmr_err_name(want));
    if (got)
        print_error("  %s\n", mrmr_story_print(mrmr_story_get(), story, sizeof story));
    _fail(file, line);
}

void make_file(struct contract *c, const char *path, const char *text)
{
    struct drv_file *file = NULL;
    assert_ok(drv_file_open(c->drv, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0644, &file));
    assert_ok(drv_file_write(file, 0, text, strlen(text)));
    drv_file_close(file);
}

void assert_text(struct contract *c, const char *path, const char *text)
{
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(drv_read_all(c->drv, path, 1 << 20, &b));
    assert_string_equal(b.data ? b.data : "", text);
}

void assert_absent(struct contract *c, const char *path)
{
    struct drv_stat stat;
    assert_err(drv_stat(c->drv, path, &stat), MRMR_ABSENT);
}

struct drv_stat stat_of(struct contract *c, const char *path)
{
    struct drv_stat stat;
    assert_ok(drv_stat(c->drv, path, &stat));
    return stat;
}

void fill(uint8_t *buf, size_t size, uint64_t offset, uint32_t seed)
{
    for (size_t i = 0; i < size; i++) {
        uint64_t x = (offset + i) * UINT64_C(0x9e3779b97f4a7c15) + seed;
        buf[i] = (uint8_t)(x >> 56 ^ x >> 24);
    }
}

/* --- running --- */

static int run(const char *set, const struct CMUnitTest *cases, size_t count)
{
    char title[64];
    snprintf(title, sizeof title, "%s over %s", set, kind.name);
    return _cmocka_run_group_tests(title, cases, count, NULL, NULL);
}

static int run_kind(const char *name, const char *host)
{
    kind.name = name;
    kind.guarded = !strncmp(name, "guard", 5);
    snprintf(kind.host, sizeof kind.host, "%s", host);
    int failed = run("paths", cases_paths, cases_paths_count) +
                 run("names", cases_names, cases_names_count) +
                 run("listing", cases_list, cases_list_count) +
                 run("files", cases_files, cases_files_count) +
                 run("holes", cases_sparse, cases_sparse_count) +
                 run("attributes", cases_attrs, cases_attrs_count) +
                 run("open files", cases_open, cases_open_count);
    if (*host)
        failed += run("roots", cases_local, cases_local_count) +
                  run("acting", cases_act, cases_act_count);
    return failed;
}

#ifdef SOME_KINDS
static bool is_run(size_t kind_of_three)
{
    static uint64_t seed;
    const char *given = getenv("MRMR_SEED");
    if (getenv("MRMR_ALL"))
        return true;
    if (!seed) {
        seed = given ? strtoull(given, NULL, 0) : (uint64_t)mrmr_clock_real() / 1000 % 1000003 + 3;
        printf("contract: MRMR_SEED=%" PRIu64 "\n", seed);
    }
    return seed % 3 == kind_of_three;
}
#else
static bool is_run(size_t kind_of_three)
{
    (void)kind_of_three;
    return true;
}
#endif

int main(void)
{
    static const char *const kinds[] = {"ext4", "xfs", "btrfs"};
    char path[512];
    host_start();
    int failed = run_kind("mem", "") + run_kind("fault", "") + run_kind("guard", "");
    snprintf(path, sizeof path, "%s/local", host_base());
    failed += mkdir(path, 0755) < 0 ? 1 : run_kind("local", path) + run_kind("guard local", path);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (is_run(i) && host_mount(kinds[i], kinds[i], path, sizeof path))
            failed += run_kind(kinds[i], path);
    host_stop();
    return failed ? 1 : 0;
}
