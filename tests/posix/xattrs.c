/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Extended attributes. Those that a system adds by itself (security.selinux) are left out of lists.
 */
#include "script.h"
#include <sys/xattr.h>

static int by_bytes(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static void list(const char *path)
{
    char names[8192], what[80], text[8192] = "", *found[200];
    size_t count = 0;
    snprintf(what, sizeof what, "attributes of %s", path);
    ssize_t size = llistxattr(path, names, sizeof names);
    if (size < 0) {
        script_call(what, -1);
        return;
    }
    for (char *name = names; name < names + size && count < 200; name += strlen(name) + 1)
        if (strncmp(name, "security.", 9) != 0)
            found[count++] = name;
    qsort(found, count, sizeof *found, by_bytes);
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", found[i]);
    FACT(what, "%s", text);
}

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
    list("f");
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
    list("f");
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
    list("f");
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
    list("large");
}

static void on_other_things(void)
{
    char value[20];
    CASE("on other things");
    CALL(mkdir("d", 0755));
    CALL(symlink("f", "s"));
    CALL(mkfifo("p", 0600));
    CALL(setxattr("d", "user.folder", "yes", 3, 0));
    list("d");
    get("d", "user.folder");
    CALL(lsetxattr("s", "user.x", "y", 1, 0));
    CALL(lgetxattr("s", "user.x", value, sizeof value));
    list("s");
    CALL(setxattr("s", "user.through", "y", 1, 0));
    list("f");
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
    list("g");
    CALL(link("g", "f"));
    CALL(setxattr("f", "user.link", "y", 1, 0));
    list("g");
    CALL(truncate("g", 0));
    list("g");
    script_put("new", "x");
    CALL(rename("new", "g"));
    list("g");
    list("f");
}

static void of_the_system(void)
{
    char value[20];
    CASE("trusted");
    CALL(setxattr("f", "trusted.x", "secret", 6, 0));
    CALL(getxattr("f", "trusted.x", value, sizeof value));
    list("f");
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
