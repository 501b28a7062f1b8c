/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ISA-L picks a kernel by processor, so that a test would see but one of them. Linked into a copy
 * of a test with
 * --wrap for the two functions below, this file sends the library's calls to the kernel that
 * KERNEL_<name> asks for. A processor without it skips the test (exit code 77).
 */
#include <isa-l/erasure_code.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined KERNEL_sse
#define KERNEL ec_encode_data_update_sse
#define CPU "sse4.1"
#elif defined KERNEL_avx
#define KERNEL ec_encode_data_update_avx
#define CPU "avx"
#elif defined KERNEL_avx2
#define KERNEL ec_encode_data_update_avx2
#define CPU "avx2"
#else
#define KERNEL ec_encode_data_update_base
#endif

void __wrap_ec_init_tables(int k, int rows, unsigned char *a, unsigned char *tables);
void __wrap_ec_encode_data_update(int len, int k, int rows, int vec_i, unsigned char *tables,
    unsigned char *data, unsigned char **coding);

void __wrap_ec_init_tables(int k, int rows, unsigned char *a, unsigned char *tables)
{
    for (int i = 0; i < k * rows; i++)
        gf_vect_mul_init(a[i], tables + 32 * (size_t)i);
}

void __wrap_ec_encode_data_update(int len, int k, int rows, int vec_i, unsigned char *tables,
    unsigned char *data, unsigned char **coding)
{
    KERNEL(len, k, rows, vec_i, tables, data, coding);
}

#ifdef CPU
__attribute__((constructor)) static void kernels_skip(void)
{
    if (__builtin_cpu_supports(CPU))
        return;
    puts("skipped: this processor lacks " CPU);
    fflush(stdout);
    _exit(77);
}
#endif
