/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Loaded before all else: once the file $DIES_WHEN is there, whoever starts a process is killed just before, or just after, as
 * $DIES says.
 */
#include <dlfcn.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int spawn_fn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
    const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);

static void die_if(const char *when)
{
    const char *file = getenv("DIES_WHEN"), *dies = getenv("DIES");
    if (file && dies && strcmp(dies, when) == 0 && access(file, F_OK) == 0)
        kill(getpid(), SIGKILL);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
    const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    spawn_fn *next;
    void *found = dlsym(RTLD_NEXT, "posix_spawn");
    memcpy(&next, &found, sizeof next);
    die_if("before");
    const int why = next(pid, path, actions, attr, argv, envp);
    die_if("after");
    return why;
}
