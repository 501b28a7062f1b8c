/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The contract suite: the same cases over every driver, each case on a fresh, empty root. A case
 * asks the drive's caps before it asks for what is optional, and never which driver it is.
 */
#ifndef MRMR_TESTS_CONTRACT_H
#define MRMR_TESTS_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "drivers/driver.h"
#include <stdio.h>
#include <string.h>

/* One root under test. */
struct contract {
    const char *kind; /* "mem", "ext4", … */
    char uri[512];
    char host[512]; /* the root's path on this machine; "" for drives that have none */
    struct drv *drv;
    struct drv_info info;
    struct drv_fault *fault; /* of the fault kind */
};

/* Close the drive and open it again by its URI. */
void contract_reopen(struct contract *c);
bool contract_can(const struct contract *c, uint32_t caps);
/* `CONTRACT_NEEDS(c, caps);` ends a case that does not apply, because the drive says it lacks them. */
#define CONTRACT_NEEDS(c, caps)                                                                    \
    do {                                                                                           \
        if (!contract_can(c, caps))                                                                \
            return;                                                                                \
    } while (0)

/* The error is exactly this one; prints the story if it is not. */
#define assert_err(expr, want) contract_assert_err((expr), (want), #expr, __FILE__, __LINE__)
#define assert_ok(expr) assert_err(expr, MRMR_OK)
void contract_assert_err(mrmr_err got, mrmr_err want, const char *what, const char *file, int line);

/* Small things that cases make. */
void make_file(struct contract *c, const char *path, const char *text);
void assert_text(struct contract *c, const char *path, const char *text);
void assert_absent(struct contract *c, const char *path);
struct drv_stat stat_of(struct contract *c, const char *path);
/* Bytes that depend on seed and place, so that a misplaced one is seen. */
void fill(uint8_t *buf, size_t size, uint64_t offset, uint32_t seed);

/* host.c: what of the machine the suite needs. */
const char *host_base(
    void); /* a new folder below TMPDIR, removed when the process ends, however it ends */
void host_start(void); /* call once, first, with one thread */
void host_stop(void);
bool host_may_mount(void); /* root, with a name space of mounts of its own */
/* Make a file system of this kind in a file and mount it; writes its path. False, with a message,
 * if that cannot be. */
bool host_mount(const char *fs, const char *name, char *ret_path, size_t size);
int host_run(const char *const argv[]); /* exit code; output goes to /dev/null */

#define CASES(name)                                                                                \
    extern const struct CMUnitTest cases_##name[];                                                 \
    extern const size_t cases_##name##_count
CASES(paths);
CASES(names);
CASES(list);
CASES(files);
CASES(sparse);
CASES(attrs);
CASES(open);
CASES(local); /* for drives with a host path */
CASES(act);   /* likewise */

/* Each case opens and closes its own root. */
#define CASE(fn)                                                                                   \
    {                                                                                              \
#fn, fn, contract_setup, contract_teardown, NULL                                           \
    }
int contract_setup(void **state);
int contract_teardown(void **state);

#endif
