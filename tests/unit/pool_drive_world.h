/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A pool and folders to make drives of, in a temp folder that goes away with the test. For the
 * tests of pool/ that need real roots.
 */
#ifndef MRMR_TESTS_POOL_DRIVE_WORLD_H
#define MRMR_TESTS_POOL_DRIVE_WORLD_H

#include "pool/drive/identity.h"
#include "pool/engine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct world {
    char dir[200]; /* <dir>/pool is the pool's; drives are <dir>/NAME */
    struct pool *pool;
};

/* Of cmocka: state is a struct world *. The pool is made, and open as POOL_OWN. */
int world_setup(void **state);
int world_teardown(void **state);

/* "dir/name", in one of a few static buffers. */
const char *world_path(const struct world *w, const char *name);
void world_open(struct world *w);
void world_close(struct world *w);
/* Make the folder and add it. */
struct pool_drive *world_add(struct world *w, const char *name);
mrmr_err world_try_add(struct world *w, const char *uri);

void world_mkdir(const char *path);
void world_write(const char *path, const char *text);
void world_remove(const char *path);               /* with all below */
void world_copy(const char *from, const char *to); /* a folder, with all below, attributes kept */
/* Names, types, sizes and content of everything below, as text; free(). */
char *world_tree(const char *path);

/* The identity at a root. */
struct pool_identity world_identity(const char *root);

/* The error, and words that its story, as a person reads it, must hold. */
void world_expect(mrmr_err got, mrmr_err wanted, const char *const words[]);
#define expect_failure(got, wanted, ...)                                                           \
    world_expect((got), (wanted), (const char *const[]){__VA_ARGS__, NULL})
/* The same of a drive that is not present. */
void world_expect_why(
    const struct pool_drive *drive, enum pool_presence presence, const char *const words[]);
#define expect_presence(drive, presence, ...)                                                      \
    world_expect_why((drive), (presence), (const char *const[]){__VA_ARGS__, NULL})
void assert_ok(mrmr_err err);

/* How many events of this kind there are, and the newest one's text in ret_text (may be NULL; 512
 * bytes). */
size_t world_events(struct world *w, const char *kind, char *ret_text);

#endif
