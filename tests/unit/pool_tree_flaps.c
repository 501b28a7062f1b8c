/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive that is away comes for a moment and goes again, while a file of it is brought to another drive: what is
 * brought is one content, the catalog's, and what the drive has by then is another version.
 */
#include "tests/unit/pool_tree_user.h"

#include <string.h>

/* It is there for a moment while its file is copied, with an edit that set the time back. */
static void comes_by(void *arg, enum drv_fault_op op, const char *path)
{
    struct world *w = arg;
    (void)path;
    if (op == DRV_FAULT_FILE_TRUNCATE) {
        goes_away(w);
        return;
    }
    if (rig_present(w->rig, 0))
        return;
    const int64_t then = rig_mtime(w->rig, "f0");
    rig_edit(w->rig, "f0", RIG_MIB + 5000, 3000);
    rig_edit(w->rig, "f0", 2 * RIG_MIB + 3000, 100);
    rig_set_mtime(w->rig, "f0", then);
    comes_back(w, NULL);
}

static void test_flaps_while_it_is_copied(void **state)
{
    struct world w;
    struct drv_stat stat;
    (void)state;
    begin(&w, RIG_LOCAL, 206);
    struct pool_tree_file *file = open_file(&w, "f0");
    goes_away(&w);
    const struct drv_fault_rule comes = {.ops = DRV_FAULT_FILE_WRITE,
        .prefix = ".mrmr/moving",
        .action = DRV_FAULT_HOOK,
        .late = true,
        .times = 1,
        .hook = comes_by,
        .arg = &w};
    struct drv_fault_rule goes = comes;
    goes.ops = DRV_FAULT_FILE_TRUNCATE;
    for (unsigned d = 1; d < DRIVES; d++) {
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &comes, NULL));
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &goes, NULL));
    }
    struct rig_file *known = rig_find(w.rig, "f0");
    const struct rig_file was = *known;
    write_part(&w, file, "f0", 2 * RIG_MIB + 5, 1000);
    assert_int_equal(known->patches, 3); /* it came by */
    const struct rig_patch written = known->patch[0];
    *known = was; /* what is brought is what was there before, and what was written */
    known->patch[known->patches++] = written;
    reads(&w, "f0");
    pool_tree_file_close(file);
    comes_back(&w, NULL);
    rig_ok(drv_stat(w.rig->drive[0].raw, "f0", &stat)); /* it is another version */
    assert_int_equal(records(&w, false), 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flaps_while_it_is_copied),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_flaps", tests, NULL, NULL);
}
