/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of pool_check: check.c looks at catalog, drives and files, check_stripe.c at stripes.
 * Nothing is changed; what a look cannot reach (a drive that is away) is not a finding.
 */
#ifndef MRMR_POOL_CHECK_H
#define MRMR_POOL_CHECK_H

#include "pool/engine.h"

struct check {
    struct pool *pool;
    bool deep;
    void (*fn)(const char *finding, void *arg);
    void *arg;
    uint64_t findings;
};

void pool_check_say(struct check *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* With this thread's story as its end. */
void pool_check_say_story(struct check *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Each returns an error only if it cannot go on; findings are told. */
mrmr_err pool_check_stripe(struct check *check, const struct meta_stripe *image);

#endif
