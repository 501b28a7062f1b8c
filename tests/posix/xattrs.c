/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Extended attributes.
 */
#include "script.h"
#include <sys/xattr.h>

static void get(const char *path, const char *name)
{
    char value[4096], what[80];
    snprintf(what, sizeof what, "%.40s of %s", name, path);
    ssize_t size = lgetxattr(path, name, value, sizeof value);
    if (size < 0)
        script_call(what, -1);
    else
        script_bytes(what, value, (size_t)size);
}

static void setting(void)
{
    char value[20];
    CASE("setting");
    script_attributes("f");
    get("f", "user.a");
    CALL(setxattr("f", "user.a", "one", 3, 0));
    get("f", "user.a");
    CALL(setxattr("f", "user.a", "two", 3, XATTR_CREATE));
    CALL(setxattr("f", "user.a", "three", 5, XATTR_REPLACE));
    CALL(setxattr("f", "user.b", "four", 4, XATTR_REPLACE));
    CALL(setxattr("f", "user.b", "four", 4, XATTR_CREATE));
    CALL(setxattr("f", "user.c", "", 0, 0));
    CALL(setxattr("f", "user.d", "\0binary\xff", 8, 0));
    CALL(setxattr("f", "user.a", "x", 1, XATTR_CREATE | XATTR_REPLACE));
    CALL(setxattr("f", "user.a", "x", 1, 64));
    script_attributes("f");
    get("f", "user.a");
    get("f", "user.b");
    get("f", "user.c");
    get("f", "user.d");
    CASE("sizes of buffers");
    CALL(getxattr("f", "user.a", NULL, 0));
    CALL(getxattr("f", "user.a", value, 4));
    CALL(getxattr("f", "user.a", value, 5));
    CALL(getxattr("f", "user.c", value, 5));
    CALL(listxattr("f", value, 3));
    CALL(listxattr("f", NULL, 0) >= 28 ? 0 : -1);
    CASE("removing");
    CALL(removexattr("f", "user.b"));
    CALL(removexattr("f", "user.b"));
    CALL(removexattr("f", "user.none"));
    CALL(removexattr("none", "user.b"));
    script_attributes("f");
}

static void names(void)
{
    char name[300] = "user.";
    CASE("names");
    memset(name + 5, 'n', 250);
    CALL(setxattr("f", name, "x", 1, 0));
    get("f", name);
    CALL(removexattr("f", name));
    name[255] = 'n';
    CALL(setxattr("f", name, "x", 1, 0));
    CALL(setxattr("f", "user.", "x", 1, 0));
    CALL(setxattr("f", "", "x", 1, 0));
    CALL(setxattr("f", "bare", "x", 1, 0));
    CALL(setxattr("f", "other.x", "x", 1, 0));
    CALL(getxattr("f", "other.x", name, 1));
    CALL(setxattr("f", "user.\xff\n ", "x", 1, 0));
    get("f", "user.\xff\n ");
    CALL(removexattr("f", "user.\xff\n "));
    CALL(setxattr("f", "user.A", "upper", 5, 0));
    get("f", "user.a");
    CALL(removexattr("f", "user.A"));
}

static void large_ones(void)
{
    static char value[70000];
    CASE("large ones");
    memset(value, 'v', sizeof value);
    script_put("large", "x");
    CALL(setxattr("large", "user.big", value, 400, 0));
    get("large", "user.big");
    CALL(setxattr("large", "user.big", value, 10, 0));
    get("large", "user.big");
    CALL(setxattr("large", "user.big", value, 65537, 0));
    get("large", "user.big");
    for (int i = 0; i < 10; i++) {
        char name[20];
        snprintf(name, sizeof name, "user.many%d", i);
        MUST(setxattr("large", name, value, 20, 0));
    }
    script_attributes("large");
}

static void on_other_things(void)
{
    char value[20];
    CASE("on other things");
    CALL(mkdir("d", 0755));
    CALL(symlink("f", "s"));
    CALL(mkfifo("p", 0600));
    CALL(setxattr("d", "user.folder", "yes", 3, 0));
    script_attributes("d");
    get("d", "user.folder");
    CALL(lsetxattr("s", "user.x", "y", 1, 0));
    CALL(lgetxattr("s", "user.x", value, sizeof value));
    script_attributes("s");
    CALL(setxattr("s", "user.through", "y", 1, 0));
    script_attributes("f");
    CALL(setxattr("p", "user.x", "y", 1, 0));
    CALL(getxattr("p", "user.x", value, sizeof value));
    int fd = FD(open("f", O_RDONLY));
    CALL(fsetxattr(fd, "user.fd", "y", 1, 0));
    CALL(fgetxattr(fd, "user.fd", value, sizeof value));
    CALL(fremovexattr(fd, "user.fd"));
    CALL(fgetxattr(fd, "user.fd", value, sizeof value));
    close(fd);
    CALL(setxattr("none", "user.x", "y", 1, 0));
    CALL(getxattr("none", "user.x", value, sizeof value));
    CASE("they go with the file");
    CALL(rename("f", "g"));
    script_attributes("g");
    CALL(link("g", "f"));
    CALL(setxattr("f", "user.link", "y", 1, 0));
    script_attributes("g");
    CALL(truncate("g", 0));
    script_attributes("g");
    script_put("new", "x");
    CALL(rename("new", "g"));
    script_attributes("g");
    script_attributes("f");
}

static void of_the_system(void)
{
    char value[20];
    CASE("trusted");
    CALL(setxattr("f", "trusted.x", "secret", 6, 0));
    CALL(getxattr("f", "trusted.x", value, sizeof value));
    script_attributes("f");
    CALL(removexattr("f", "trusted.x"));
    CALL(symlink("x", "dangling"));
    CALL(lsetxattr("dangling", "trusted.x", "y", 1, 0));
    CALL(lgetxattr("dangling", "trusted.x", value, sizeof value));
    CASE("security");
    CALL(setxattr("f", "security.x", "y", 1, 0));
    CALL(getxattr("f", "security.x", value, sizeof value));
    CALL(removexattr("f", "security.x"));
    CALL(getxattr("f", "security.capability", value, sizeof value));
    CASE("without the right to write");
    CALL(chmod("f", 0444));
    CALL(setxattr("f", "user.x", "y", 1, 0));
    CALL(getxattr("f", "user.a", value, sizeof value));
    CALL(chmod("f", 0200));
    CALL(setxattr("f", "user.x", "y", 1, 0));
    CALL(getxattr("f", "user.a", value, sizeof value));
    CALL(chmod("f", 0644));
}

void posix_xattrs(void)
{
    script_put("f", "x");
    setting();
    names();
    large_ones();
    on_other_things();
    of_the_system();
}
