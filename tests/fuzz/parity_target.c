/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A libFuzzer target; ENTRY is one of parity_fuzz.h's.
 */
#include "parity_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ENTRY(data, size);
    return 0;
}
