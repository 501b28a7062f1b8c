/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * null_fs MOUNTPOINT: a FUSE daemon that answers at once, from memory. What a file system in user
 * space can reach on this machine at most: tools/bench measures the mount beside it.
 *
 * Names and attributes are kept, data is not: what is written is dropped, what is read is zeros.
 * The session is that of fuse/session.c and fuse/ops.c: the same threads, clones of the device,
 * capabilities, mount options, and no flush; time-outs are long, and folders' lists are kept by the
 * kernel. Extended attributes are asked for and there are none, as on most files.
 *
 * A node's id is its address. It lives while it has a name or the kernel holds it. One lock over all.
 */
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MOST = 64, THREADS_IDLE = 16, READ_MOST = 1 << 20, NAME_MOST = 255 };
static const double keep = 365.0 * 86400;
static const unsigned buckets = 1U << 17;

struct name {
    struct name *next; /* in its bucket */
    struct node *folder, *node;
    size_t place; /* in the folder's list */
    char text[];
};

struct node {
    struct stat st; /* nlink: of a folder 1, gone: 0 */
    uint64_t held;
    char *target;       /* of a symlink */
    struct node *above; /* of a folder */
    struct name **list; /* names in the order in which they were made; NULL: one that is gone */
    size_t n, room, live;
};

/* Guarded by lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct node root;
static struct name **table;
static uint64_t last_number = FUSE_ROOT_ID;

static struct node *node_of(fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static fuse_ino_t ino_of(const struct node *node)
{
    return node == &root ? FUSE_ROOT_ID : (uintptr_t)node;
}

static void lock_leave(pthread_mutex_t **held)
{
    pthread_mutex_unlock(*held);
}
#define LOCKED()                                                                                   \
    __attribute__((cleanup(lock_leave), unused)) pthread_mutex_t *locked = &lock;                  \
    pthread_mutex_lock(&lock)

/* --- nodes and names --- */

static struct timespec now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts;
}

static struct name **name_bucket(const struct node *folder, const char *text)
{
    uint64_t hash = (uintptr_t)folder * UINT64_C(0x9e3779b97f4a7c15);
    for (const char *c = text; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return &table[(hash >> 32) % buckets];
}

/* The link that leads to it; to NULL: there is none. */
static struct name **name_find(const struct node *folder, const char *text)
{
    struct name **at = name_bucket(folder, text);
    while (*at && ((*at)->folder != folder || strcmp((*at)->text, text) != 0))
        at = &(*at)->next;
    return at;
}

static struct node *name_node(const struct node *folder, const char *text)
{
    const struct name *name = *name_find(folder, text);
    return name ? name->node : NULL;
}

static void folder_changed(struct node *folder)
{
    folder->st.st_mtim = folder->st.st_ctim = now();
}

static int name_add(struct node *folder, const char *text, struct node *node)
{
    size_t size = strlen(text) + 1;
    struct name *name = malloc(sizeof *name + size);
    if (!name)
        return ENOMEM;
    if (folder->n == folder->room) {
        size_t room = folder->room ? 2 * folder->room : 8;
        struct name **list = realloc(folder->list, room * sizeof *list);
        if (!list) {
            free(name);
            return ENOMEM;
        }
        folder->list = list;
        folder->room = room;
    }
    struct name **bucket = name_bucket(folder, text);
    *name = (struct name){*bucket, folder, node, folder->n};
    memcpy(name->text, text, size);
    *bucket = folder->list[folder->n++] = name;
    folder->live++;
    if (S_ISDIR(node->st.st_mode))
        node->above = folder;
    folder_changed(folder);
    return 0;
}

/* The name alone: the node is the caller's. */
static void name_remove(struct name **at)
{
    struct name *name = *at;
    struct node *folder = name->folder;
    *at = name->next;
    folder->list[name->place] = NULL;
    if (--folder->live == 0)
        folder->n = 0;
    folder_changed(folder);
    free(name);
}

static void node_free_unused(struct node *node)
{
    if (node == &root || node->held || node->st.st_nlink)
        return;
    free(node->target);
    free(node->list);
    free(node);
}

static void node_unname(struct node *node)
{
    node->st.st_nlink--;
    node->st.st_ctim = now();
    node->above = node; /* what it lay in may go before it */
    node_free_unused(node);
}

static struct node *node_new(fuse_req_t req, mode_t mode, dev_t rdev)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct node *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    node->st = (struct stat){
        .st_ino = ++last_number,
        .st_mode = S_ISLNK(mode) ? mode : mode & ~ctx->umask,
        .st_nlink = 1,
        .st_uid = ctx->uid,
        .st_gid = ctx->gid,
        .st_rdev = rdev,
        .st_blksize = 4096,
        .st_mtim = now(),
    };
    node->st.st_atim = node->st.st_ctim = node->st.st_mtim;
    return node;
}

static void node_size(struct node *node, off_t size)
{
    node->st.st_size = size;
    node->st.st_blocks = (size + 511) / 512;
    node->st.st_mtim = node->st.st_ctim = now();
}

static struct fuse_entry_param entry_of(const struct node *node)
{
    return (struct fuse_entry_param){
        .ino = ino_of(node), .attr = node->st, .attr_timeout = keep, .entry_timeout = keep};
}

static void let_go(fuse_ino_t ino, uint64_t times)
{
    LOCKED();
    struct node *node = node_of(ino);
    node->held -= times;
    node_free_unused(node);
}

static void reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
    if (fuse_reply_entry(req, entry) && entry->ino)
        let_go(entry->ino, 1);
}

/* --- looking --- */

static void op_init(void *arg, struct fuse_conn_info *conn)
{
    static const unsigned wanted =
        FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_CACHE_SYMLINKS |
        FUSE_CAP_DONT_MASK | FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_PARALLEL_DIROPS |
        FUSE_CAP_POSIX_ACL | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO;
    (void)arg;
    conn->want |= conn->capable & wanted;
    conn->want &= ~(unsigned)(FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_ATOMIC_O_TRUNC);
}

static void op_lookup(fuse_req_t req, fuse_ino_t ino, const char *text)
{
    struct fuse_entry_param entry = {.entry_timeout = keep};
    {
        LOCKED();
        struct node *folder = node_of(ino), *node;
        if (strcmp(text, ".") == 0)
            node = folder;
        else if (strcmp(text, "..") == 0)
            node = folder->above;
        else
            node = name_node(folder, text);
        if (node) {
            node->held++;
            entry = entry_of(node);
        }
    }
    reply_entry(req, &entry);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t times)
{
    let_go(ino, times);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        let_go(forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static struct stat stat_of(fuse_ino_t ino)
{
    LOCKED();
    return node_of(ino)->st;
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct stat st = stat_of(ino);
    (void)fi;
    fuse_reply_attr(req, &st, keep);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    fuse_reply_readlink(req, node_of(ino)->target); /* it never changes */
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->cache_readdir = fi->keep_cache = 1;
    fuse_reply_open(req, fi);
}

/* False: there is no room left. */
static bool fill(fuse_req_t req, bool plus, char *buf, size_t size, size_t *used, const char *text,
    const struct node *node, off_t next)
{
    struct fuse_entry_param entry = entry_of(node);
    if (text[0] == '.' && (!text[1] || (text[1] == '.' && !text[2])))
        entry.ino = 0; /* these are not held */
    size_t n = plus ? fuse_add_direntry_plus(req, buf + *used, size - *used, text, &entry, next)
                    : fuse_add_direntry(req, buf + *used, size - *used, text, &node->st, next);
    if (n > size - *used)
        return false;
    *used += n;
    return true;
}

/* Places: 1 after ".", 2 after "..", then the folder's list. */
static size_t fill_all(
    fuse_req_t req, struct node *folder, bool plus, char *buf, size_t size, size_t place)
{
    size_t used = 0;
    LOCKED();
    if (place < 1 && !fill(req, plus, buf, size, &used, ".", folder, 1))
        return used;
    if (place < 2 && !fill(req, plus, buf, size, &used, "..", folder->above, 2))
        return used;
    for (size_t i = place < 2 ? 0 : place - 2; i < folder->n; i++) {
        const struct name *name = folder->list[i];
        if (!name)
            continue;
        if (!fill(req, plus, buf, size, &used, name->text, name->node, (off_t)i + 3))
            break;
        name->node->held += plus;
    }
    return used;
}

static void read_folder(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    char *buf = malloc(size);
    if (buf)
        fuse_reply_buf(req, buf, fill_all(req, node_of(ino), plus, buf, size, (size_t)off));
    else
        fuse_reply_err(req, ENOMEM);
    free(buf);
}

static void op_readdir(
    fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    read_folder(req, ino, size, off, false);
}

static void op_readdirplus(
    fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    read_folder(req, ino, size, off, true);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    (void)ino;
    (void)size;
    fuse_reply_err(req, strcmp(name, "security.selinux") == 0 ? ENOTSUP : ENODATA);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    (void)ino;
    if (size)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_xattr(req, 0);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    const struct statvfs fs = {.f_bsize = 4096,
        .f_frsize = 4096,
        .f_blocks = 1U << 28,
        .f_bfree = 1U << 28,
        .f_bavail = 1U << 28,
        .f_files = 1U << 28,
        .f_ffree = 1U << 28,
        .f_favail = 1U << 28,
        .f_namemax = NAME_MOST};
    (void)ino;
    fuse_reply_statfs(req, &fs);
}

/* --- names --- */

/* A new node with a name, held once. target: a symlink's; taken. */
static int make(fuse_req_t req, fuse_ino_t ino, const char *text, mode_t mode, dev_t rdev,
    char *target, struct fuse_entry_param *ret_entry)
{
    LOCKED();
    struct node *folder = node_of(ino);
    if (strlen(text) > NAME_MOST || !folder->st.st_nlink || name_node(folder, text)) {
        free(target);
        return strlen(text) > NAME_MOST ? ENAMETOOLONG : folder->st.st_nlink ? EEXIST : ENOENT;
    }
    struct node *node = node_new(req, mode, rdev);
    int err = node ? name_add(folder, text, node) : ENOMEM;
    if (err) {
        free(target);
        free(node);
        return err;
    }
    node->target = target;
    if (target)
        node->st.st_size = (off_t)strlen(target);
    node->held = 1;
    *ret_entry = entry_of(node);
    return 0;
}

static void make_and_reply(
    fuse_req_t req, fuse_ino_t ino, const char *text, mode_t mode, dev_t rdev, char *target)
{
    struct fuse_entry_param entry;
    int err = make(req, ino, text, mode, rdev, target, &entry);
    if (err)
        fuse_reply_err(req, err);
    else
        reply_entry(req, &entry);
}

static void op_mknod(fuse_req_t req, fuse_ino_t ino, const char *text, mode_t mode, dev_t rdev)
{
    make_and_reply(req, ino, text, mode, rdev, NULL);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t ino, const char *text, mode_t mode)
{
    make_and_reply(req, ino, text, S_IFDIR | mode, 0, NULL);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t ino, const char *text)
{
    char *copy = strdup(target);
    if (copy)
        make_and_reply(req, ino, text, S_IFLNK | 0777, 0, copy);
    else
        fuse_reply_err(req, ENOMEM);
}

static void op_create(
    fuse_req_t req, fuse_ino_t ino, const char *text, mode_t mode, struct fuse_file_info *fi)
{
    struct fuse_entry_param entry;
    int err = make(req, ino, text, S_IFREG | mode, 0, NULL, &entry);
    if (err)
        fuse_reply_err(req, err);
    else if (fuse_reply_create(req, &entry, fi))
        let_go(entry.ino, 1);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t to, const char *text)
{
    struct fuse_entry_param entry;
    int err = EEXIST;
    {
        LOCKED();
        struct node *node = node_of(ino), *folder = node_of(to);
        if (!name_node(folder, text))
            err = name_add(folder, text, node);
        if (!err) {
            node->st.st_nlink++;
            node->held++;
            entry = entry_of(node);
        }
    }
    if (err)
        fuse_reply_err(req, err);
    else
        reply_entry(req, &entry);
}

static int take_name(fuse_ino_t ino, const char *text)
{
    LOCKED();
    struct name **at = name_find(node_of(ino), text);
    if (!*at)
        return ENOENT;
    struct node *node = (*at)->node;
    if (node->live)
        return ENOTEMPTY;
    name_remove(at);
    node_unname(node);
    return 0;
}

static void op_unlink(fuse_req_t req, fuse_ino_t ino, const char *text)
{
    fuse_reply_err(req, take_name(ino, text));
}

static int rename_name(
    struct node *folder, const char *text, struct node *to, const char *to_text, unsigned flags)
{
    struct node *node = name_node(folder, text), *old = name_node(to, to_text);
    if (!node)
        return ENOENT;
    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return EINVAL;
    if (old && (flags & RENAME_NOREPLACE))
        return EEXIST;
    if (old && old->live)
        return ENOTEMPTY;
    if (old == node)
        return 0;
    int err = old ? 0 : name_add(to, to_text, node);
    if (err)
        return err;
    if (old) {
        (*name_find(to, to_text))->node = node;
        if (S_ISDIR(node->st.st_mode))
            node->above = to;
        folder_changed(to);
        node_unname(old);
    }
    name_remove(name_find(folder, text));
    node->st.st_ctim = now();
    return 0;
}

static void op_rename(fuse_req_t req, fuse_ino_t ino, const char *text, fuse_ino_t to,
    const char *to_text, unsigned flags)
{
    int err;
    {
        LOCKED();
        err = rename_name(node_of(ino), text, node_of(to), to_text, flags);
    }
    fuse_reply_err(req, err);
}

/* --- attributes and files --- */

static void set(struct node *node, const struct stat *st, int what)
{
    const struct timespec at = now();
    if (what & FUSE_SET_ATTR_SIZE)
        node_size(node, st->st_size);
    if (what & FUSE_SET_ATTR_MODE)
        node->st.st_mode = (node->st.st_mode & S_IFMT) | (st->st_mode & 07777);
    if (what & FUSE_SET_ATTR_UID)
        node->st.st_uid = st->st_uid;
    if (what & FUSE_SET_ATTR_GID)
        node->st.st_gid = st->st_gid;
    if (what & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
        node->st.st_atim = what & FUSE_SET_ATTR_ATIME_NOW ? at : st->st_atim;
    if (what & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
        node->st.st_mtim = what & FUSE_SET_ATTR_MTIME_NOW ? at : st->st_mtim;
    node->st.st_ctim = at;
}

static void op_setattr(
    fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *fi)
{
    struct stat now_is;
    (void)fi;
    {
        LOCKED();
        set(node_of(ino), st, what);
        now_is = node_of(ino)->st;
    }
    fuse_reply_attr(req, &now_is, keep);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->keep_cache = 1;
    fuse_reply_open(req, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    fuse_reply_err(req, 0);
}

static void op_read(
    fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    static const char zeros[READ_MOST];
    const off_t end = stat_of(ino).st_size;
    (void)fi;
    size_t left = off < end ? (size_t)(end - off) : 0;
    size = size < left ? size : left;
    fuse_reply_buf(req, zeros, size < READ_MOST ? size : READ_MOST);
}

static void grow(fuse_ino_t ino, off_t to)
{
    LOCKED();
    struct node *node = node_of(ino);
    node_size(node, node->st.st_size > to ? node->st.st_size : to);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
    struct fuse_file_info *fi)
{
    (void)buf;
    (void)fi;
    grow(ino, off + (off_t)size);
    fuse_reply_write(req, size);
}

static void op_fallocate(
    fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length, struct fuse_file_info *fi)
{
    (void)fi;
    if (!(mode & FALLOC_FL_KEEP_SIZE))
        grow(ino, off + length);
    fuse_reply_err(req, 0);
}

static void op_sync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    (void)datasync;
    (void)fi;
    fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_unlink,
    .symlink = op_symlink,
    .rename = op_rename,
    .link = op_link,
    .open = op_open,
    .create = op_create,
    .read = op_read,
    .write = op_write,
    .release = op_release,
    .fsync = op_sync,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .fsyncdir = op_sync,
    .statfs = op_statfs,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .fallocate = op_fallocate,
};

/* --- the program --- */

static int serve(struct fuse_session *session)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (!config)
        return -ENOMEM;
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, THREADS_MOST);
    fuse_loop_cfg_set_idle_threads(config, THREADS_IDLE);
    int failed = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    return failed;
}

static int run(const char *program, const char *mountpoint)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    int failed =
        fuse_opt_add_arg(&args, program) || fuse_opt_add_arg(&args, "-o") ||
        fuse_opt_add_arg(&args, geteuid() == 0 ? "fsname=null,subtype=null,default_permissions,"
                                                 "allow_other"
                                               : "fsname=null,subtype=null,default_permissions");
    struct fuse_session *session = failed ? NULL : fuse_session_new(&args, &ops, sizeof ops, NULL);
    if (session && fuse_set_signal_handlers(session) == 0) {
        failed = fuse_session_mount(session, mountpoint);
        if (!failed) {
            failed = serve(session) < 0;
            fuse_session_unmount(session);
        }
        fuse_remove_signal_handlers(session);
    } else {
        failed = 1;
    }
    if (session)
        fuse_session_destroy(session);
    fuse_opt_free_args(&args);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS; /* libfuse has told why */
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: null_fs MOUNTPOINT\n");
        return 2;
    }
    umask(0);
    table = calloc(buckets, sizeof *table);
    if (!table)
        return EXIT_FAILURE;
    root = (struct node){.above = &root,
        .st = {.st_ino = FUSE_ROOT_ID,
            .st_mode = S_IFDIR | 0755,
            .st_nlink = 1,
            .st_uid = geteuid(),
            .st_gid = getegid(),
            .st_blksize = 4096,
            .st_mtim = now()}};
    return run(argv[0], argv[1]);
}
