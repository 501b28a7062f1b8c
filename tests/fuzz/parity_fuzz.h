/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fuzz entries for parity files. Each takes any bytes; it aborts if something was accepted that
 * breaks a guarantee of pool/manifest.h. The libFuzzer targets and the mutation test share them.
 * One thread.
 */
#ifndef MRMR_TESTS_FUZZ_PARITY_FUZZ_H
#define MRMR_TESTS_FUZZ_PARITY_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

mrmr_err parity_fuzz_text(const uint8_t *data, size_t size); /* a manifest's text */
mrmr_err parity_fuzz_gzip(const uint8_t *data, size_t size); /* a packed manifest */
mrmr_err parity_fuzz_file(const uint8_t *data, size_t size); /* a parity file */
/* A parity file whose footer and manifest digests are first made right, so that what lies behind
 * them is reached. */
mrmr_err parity_fuzz_fixed(const uint8_t *data, size_t size);

#endif
