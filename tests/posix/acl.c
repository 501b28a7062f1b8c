/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * POSIX ACLs, as the attributes in which the kernel takes and gives them; how folders pass them on; whom they let in.
 */
#include "script.h"
#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdint.h>
#include <sys/xattr.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

struct acl {
    struct posix_acl_xattr_header header;
    struct posix_acl_xattr_entry entries[20];
    size_t count;
};

static void add(struct acl *acl, int tag, int perm, unsigned id)
{
    struct posix_acl_xattr_entry *entry = &acl->entries[acl->count++];
    entry->e_tag = htole16((uint16_t)tag);
    entry->e_perm = htole16((uint16_t)perm);
    entry->e_id = htole32(id);
}

/* Of the owner, a user (or none), the group, a group (or none), the mask (-1: none) and the others. */
static struct acl make(int owner, unsigned user, int user_perm, int group, unsigned named,
    int named_perm, int mask, int others)
{
    struct acl acl = {.header.a_version = htole32(POSIX_ACL_XATTR_VERSION)};
    const unsigned none = (unsigned)ACL_UNDEFINED_ID;
    add(&acl, ACL_USER_OBJ, owner, none);
    if (user)
        add(&acl, ACL_USER, user_perm, user);
    add(&acl, ACL_GROUP_OBJ, group, none);
    if (named)
        add(&acl, ACL_GROUP, named_perm, named);
    if (mask >= 0)
        add(&acl, ACL_MASK, mask, none);
    add(&acl, ACL_OTHER, others, none);
    return acl;
}

static int set(const char *path, const char *name, struct acl acl)
{
    return setxattr(path, name, &acl, sizeof acl.header + acl.count * sizeof *acl.entries, 0);
}

static const char *tag_name(int tag)
{
    return tag == ACL_USER_OBJ || tag == ACL_USER     ? "u"
           : tag == ACL_GROUP_OBJ || tag == ACL_GROUP ? "g"
           : tag == ACL_MASK                          ? "m"
                                                      : "o";
}

static void show(const char *path, const char *name)
{
    struct acl acl;
    char what[80], text[500] = "";
    snprintf(
        what, sizeof what, "%s of %s", strcmp(name, ACCESS) == 0 ? "ACL" : "default ACL", path);
    ssize_t size = getxattr(path, name, &acl, offsetof(struct acl, count));
    if (size < 0) {
        script_call(what, -1);
        return;
    }
    size_t count = ((size_t)size - sizeof acl.header) / sizeof *acl.entries;
    for (size_t i = 0; i < count; i++) {
        int tag = le16toh(acl.entries[i].e_tag);
        char id[20] = "";
        if (tag == ACL_USER || tag == ACL_GROUP)
            snprintf(id, sizeof id, "%u", le32toh(acl.entries[i].e_id));
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s:%s:%o", i ? " " : "",
            tag_name(tag), id, le16toh(acl.entries[i].e_perm));
    }
    FACT(what, "%s", text);
}

static void show_all(const char *path)
{
    script_stat(path);
    show(path, ACCESS);
    show(path, DEFAULT);
}

static void setting(void)
{
    char value[10];
    CASE("setting");
    script_put("f", "x");
    show_all("f");
    CALL(set("f", ACCESS, make(6, BOB, 6, 4, 0, 0, 7, 0)));
    show_all("f");
    CALL(chmod("f", 0640));
    show_all("f");
    CALL(set("f", ACCESS, make(7, BOB, 5, 4, CLUB, 2, 4, 1)));
    show_all("f");
    CALL(getxattr("f", ACCESS, NULL, 0));
    CALL(getxattr("f", ACCESS, value, sizeof value));
    script_attributes("f");
    CALL(removexattr("f", ACCESS));
    show_all("f");
    CALL(removexattr("f", ACCESS));
    CALL(set("f", ACCESS, make(6, 0, 0, 4, 0, 0, -1, 4)));
    show_all("f");
    struct stat before = script_seen("f");
    CALL(set("f", ACCESS, make(6, BOB, 6, 4, 0, 0, 7, 0)));
    script_changes("f", &before);
    CALL(set("f", DEFAULT, make(6, 0, 0, 4, 0, 0, -1, 4)));
    CASE("what is no ACL");
    CALL(set("f", ACCESS, make(6, BOB, 6, 4, 0, 0, -1, 4)));
    CALL(set("f", ACCESS, make(9, 0, 0, 4, 0, 0, -1, 4)));
    CALL(setxattr("f", ACCESS, "nonsense", 8, 0));
    CALL(setxattr("f", ACCESS, "\1\0\0\0", 4, 0));
    struct acl twice = make(6, BOB, 6, 4, 0, 0, 7, 0);
    add(&twice, ACL_OTHER, 4, (unsigned)ACL_UNDEFINED_ID);
    CALL(set("f", ACCESS, twice));
    CALL(set("none", ACCESS, make(6, 0, 0, 4, 0, 0, -1, 4)));
    show_all("f");
}

static void make_all_kinds(const char *what)
{
    static const char *const made[] = {
        "d/file", "d/private", "d/program", "d/folder", "d/closed", "d/fifo"};
    CASE(what);
    OPENS(open("d/file", O_RDWR | O_CREAT | O_EXCL, 0666));
    OPENS(open("d/private", O_RDWR | O_CREAT | O_EXCL, 0600));
    OPENS(open("d/program", O_RDWR | O_CREAT | O_EXCL, 0777));
    CALL(mkdir("d/folder", 0777));
    CALL(mkdir("d/closed", 0700));
    CALL(mkfifo("d/fifo", 0666));
    CALL(symlink("x", "d/link"));
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        show_all(made[i]);
    script_stat("d/link");
    OPENS(open("d/folder/deeper", O_RDWR | O_CREAT | O_EXCL, 0666));
    show_all("d/folder/deeper");
    CALL(unlink("d/folder/deeper"));
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        CALL(remove(made[i]));
    CALL(unlink("d/link"));
}

static void inheriting(void)
{
    CASE("default ACLs");
    CALL(mkdir("d", 0755));
    CALL(set("d", DEFAULT, make(7, BOB, 7, 5, CLUB, 6, 7, 0)));
    show_all("d");
    script_attributes("d");
    umask(077);
    make_all_kinds("inherited, umask 077");
    umask(0);
    make_all_kinds("inherited, no umask");
    MUST(set("d", DEFAULT, make(7, 0, 0, 5, 0, 0, -1, 4)));
    umask(077);
    make_all_kinds("a small default ACL, umask 077");
    CASE("without a default ACL");
    CALL(removexattr("d", DEFAULT));
    make_all_kinds("no more inherited, umask 077");
    umask(022);
    CASE("moved out of where it came from");
    MUST(set("d", DEFAULT, make(7, BOB, 7, 5, 0, 0, 7, 0)));
    script_put("plain", "x");
    CALL(rename("plain", "d/plain"));
    show_all("d/plain");
    script_put("d/f", "x");
    CALL(rename("d/f", "moved"));
    show_all("moved");
}

static void try(void *unused)
{
    (void)unused;
    CALL(access("let", R_OK));
    CALL(access("let", W_OK));
    OPENS(open("let", O_RDONLY));
    OPENS(open("let", O_RDWR));
    OPENS(open("in/f", O_RDONLY));
    OPENS(open("in/new", O_RDWR | O_CREAT, 0644));
    CALL(unlink("in/new"));
    CALL(set("let", ACCESS, make(6, 0, 0, 4, 0, 0, -1, 4)));
}

static void try_all(const char *what, struct acl file, struct acl folder)
{
    CASE(what);
    MUST(set("let", ACCESS, file));
    MUST(set("in", ACCESS, folder));
    script_as(BOB, BOB, BOB, try, NULL);
    script_as(ANN, ANN, CLUB, try, NULL);
}

static void whom_they_let_in(void)
{
    script_put("let", "x");
    CALL(mkdir("in", 0700));
    script_put("in/f", "x");
    try_all("a user by name", make(6, BOB, 6, 0, 0, 0, 7, 0), make(7, BOB, 7, 0, 0, 0, 7, 0));
    try_all("cut by the mask", make(6, BOB, 6, 0, 0, 0, 4, 0), make(7, BOB, 7, 0, 0, 0, 5, 0));
    try_all("a group by name", make(6, 0, 0, 0, CLUB, 6, 7, 0), make(7, 0, 0, 0, CLUB, 7, 7, 0));
    try_all("a user shut out", make(6, BOB, 0, 0, 0, 0, 7, 6), make(7, BOB, 0, 0, 0, 0, 7, 7));
}

void posix_acl(void)
{
    setting();
    inheriting();
    if (script_root)
        whom_they_let_in();
}
