/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * File handles, as an NFS server keeps them: they open the file by whatever name it goes, and nothing when it is gone.
 */
#include "script.h"

struct handle {
    struct file_handle head;
    unsigned char bytes[MAX_HANDLE_SZ];
    int mount;
};

static int take(const char *path, struct handle *handle, int flags)
{
    handle->head.handle_bytes = MAX_HANDLE_SZ;
    return name_to_handle_at(AT_FDCWD, path, &handle->head, &handle->mount, flags);
}

static bool same(const struct handle *one, const struct handle *other)
{
    return one->head.handle_bytes == other->head.handle_bytes &&
           one->head.handle_type == other->head.handle_type &&
           memcmp(one->bytes, other->bytes, one->head.handle_bytes) == 0;
}

static void open_and_read(int folder, struct handle *handle)
{
    int fd = FD(open_by_handle_at(folder, &handle->head, O_RDWR));
    script_read(fd, 20, 0);
    script_fstat(fd);
    close(fd);
}

static void of_files(int folder)
{
    struct handle handle, again, link_;
    CASE("files");
    script_put("f", "bytes");
    CALL(take("none", &handle, 0));
    CALL(take("f", &handle, 0));
    open_and_read(folder, &handle);
    CALL(mkdir("d", 0755));
    CALL(rename("f", "d/g"));
    open_and_read(folder, &handle);
    CALL(take("d/g", &again, 0));
    FACT("the same handle", "%d", same(&handle, &again));
    CALL(link("d/g", "l"));
    CALL(take("l", &link_, 0));
    FACT("the same handle", "%d", same(&handle, &link_));
    CALL(unlink("d/g"));
    open_and_read(folder, &handle);
    int fd = FD(open_by_handle_at(folder, &handle.head, O_WRONLY | O_APPEND));
    CALL(write(fd, " more", 5));
    CALL(unlink("l"));
    script_fstat(fd);
    close(fd);
    FD(open_by_handle_at(folder, &handle.head, O_RDONLY));
    script_put("f", "another");
    FD(open_by_handle_at(folder, &handle.head, O_RDONLY));
    struct handle small = {.head.handle_bytes = 0};
    CALL(name_to_handle_at(AT_FDCWD, "f", &small.head, &small.mount, 0));
}

static void of_other_things(int folder)
{
    struct handle handle, other;
    char text[20];
    CASE("folders and links");
    CALL(take("d", &handle, 0));
    int fd = FD(open_by_handle_at(folder, &handle.head, O_RDONLY | O_DIRECTORY));
    OPENS(openat(fd, "made below", O_RDWR | O_CREAT, 0644));
    script_list("d");
    close(fd);
    CALL(rename("d", "e"));
    fd = FD(open_by_handle_at(folder, &handle.head, O_RDONLY | O_DIRECTORY));
    CALL(faccessat(fd, "made below", F_OK, 0));
    close(fd);
    script_remove("e");
    FD(open_by_handle_at(folder, &handle.head, O_RDONLY));
    CALL(symlink("f", "s"));
    CALL(take("s", &handle, 0));
    fd = FD(open_by_handle_at(folder, &handle.head, O_PATH | O_NOFOLLOW));
    CALL(readlinkat(fd, "", text, sizeof text));
    close(fd);
    CALL(take("s", &other, AT_SYMLINK_FOLLOW));
    FACT("the same handle", "%d", same(&handle, &other));
    CALL(take(".", &handle, 0));
    fd = FD(open_by_handle_at(folder, &handle.head, O_RDONLY | O_DIRECTORY));
    CALL(faccessat(fd, "f", F_OK, 0));
    close(fd);
}

static void of_users(int folder)
{
    struct handle handle;
    CASE("as a user");
    script_put("f", "bytes");
    CALL(take("f", &handle, 0));
    FD(open_by_handle_at(folder, &handle.head, O_RDONLY));
}

void posix_handles(void)
{
    int folder = open(".", O_RDONLY | O_DIRECTORY);
    if (script_root) {
        of_files(folder);
        of_other_things(folder);
    } else
        of_users(folder);
    close(folder);
}
