/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_away_links_world.h"

#include "tests/support/pause.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

void links(struct world *w, const char *from, const char *to)
{
    struct pool_attr attr, made;
    const char *name;
    const uint64_t folder = folder_of(w, to, &name);
    rig_ok(look_at(w, from, &attr));
    rig_ok(pool_tree_link(w->tree, NULL, attr.node, folder, name, &made));
}

struct rig_file *file_of(struct world *w, const char *path)
{
    return rig_find(w->rig, path);
}

void is_now(struct world *w, const char *was, const char *path)
{
    strcpy(file_of(w, was)->path, path);
}

void destroy(struct world *w)
{
    if (w->tree)
        close_tree(w);
    rig_destroy(w->rig);
}

void reads_it(struct world *w, const char *path, const char *has_not)
{
    for (unsigned i = 0; i < 2; i++) {
        reads(w, path);
        lists(w, "", path, has_not);
        close_tree(w);
        open_tree(w);
    }
}

void ends_well(struct world *w)
{
    comes_back(w, NULL);
    close_tree(w);
    rig_reopen(w->rig);
    rig_sync(w->rig);
    assert_int_equal(w->rig->report.held, 0);
    rig_check_originals(w->rig);
    rig_verify(w->rig, true);
    destroy(w);
}

void is_killed(struct world *w, void (*changes)(struct world *w))
{
    int status;
    close_tree(w);
    rig_close(w->rig);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        rig_open(w->rig);
        open_tree(w);
        changes(w);
        kill(getpid(), SIGKILL);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

void f0_is_newer(struct world *w)
{
    close_tree(w);
    rig_take_away(w->rig, 1);
    rig_edit(w->rig, "f0", 0, 1000);
    rig_reopen(w->rig);
    rig_sync(w->rig);
    rig_bring_back(w->rig, 1);
    rig_reopen(w->rig);
    open_tree(w);
}

void comes_to_be(struct world *w, const char *path)
{
    const int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (is_there(w, path)) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
}
