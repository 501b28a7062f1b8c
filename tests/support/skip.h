/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Tests that this system cannot run say why; tools/test lists them. Where MRMR_NO_SKIPS is set, as
 * it is for root in .ci/run, that is a failure: nothing goes untested unseen. What does not apply
 * (a file system that has no such thing) is no skip: such a case just returns.
 */
#ifndef MRMR_TESTS_SKIP_H
#define MRMR_TESTS_SKIP_H

#include <stdlib.h>

/* After cmocka.h. */
#define skip_for(why)                                                                              \
    do {                                                                                           \
        if (getenv("MRMR_NO_SKIPS"))                                                               \
            fail_msg("skipped: %s", (why));                                                        \
        print_message("SKIPPED %s: %s\n", __func__, (why));                                        \
        skip();                                                                                    \
    } while (0)

#endif
