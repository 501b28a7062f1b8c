/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * FIFOs, sockets and device nodes.
 */
#include "script.h"
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

static void write_to_fifo(void *unused)
{
    (void)unused;
    int fd = open("fifo", O_WRONLY);
    script_must("writing to a FIFO", write(fd, "through it", 10) == 10);
}

static void fifos(void)
{
    char text[20] = "";
    CASE("FIFOs");
    CALL(mkfifo("fifo", 0666));
    script_stat("fifo");
    CALL(mkfifo("fifo", 0600));
    OPENS(open("fifo", O_WRONLY | O_NONBLOCK));
    OPENS(open("fifo", O_RDWR | O_CREAT | O_EXCL, 0600));
    int fd = FD(open("fifo", O_RDONLY | O_NONBLOCK));
    CALL(read(fd, text, sizeof text));
    int out = FD(open("fifo", O_WRONLY | O_NONBLOCK));
    CALL(read(fd, text, sizeof text));
    CALL(write(out, "hello", 5));
    CALL(read(fd, text, sizeof text));
    CALL(lseek(fd, 0, SEEK_SET));
    CALL(ftruncate(out, 0));
    CALL(fsync(fd));
    close(out);
    MUST(fcntl(fd, F_SETFL, 0));
    script_child(write_to_fifo, NULL);
    ssize_t size = CALL(read(fd, text, sizeof text));
    script_bytes("read", text, size > 0 ? (size_t)size : 0);
    CALL(truncate("fifo", 0));
    CALL(chmod("fifo", 0640));
    CALL(rename("fifo", "pipe"));
    script_stat("pipe");
    CALL(unlink("pipe"));
    CALL(read(fd, text, sizeof text));
    close(fd);
}

static void say_hello(void *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CALL(connect(fd, address, sizeof(struct sockaddr_un)));
    CALL(write(fd, "hello", 5));
    close(fd);
}

static void sockets(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    const struct sockaddr *to = (const struct sockaddr *)&address;
    char text[20] = "";
    CASE("sockets");
    int fd = FD(socket(AF_UNIX, SOCK_STREAM, 0));
    CALL(connect(fd, to, sizeof address));
    CALL(bind(fd, to, sizeof address));
    script_stat("socket");
    int other = FD(socket(AF_UNIX, SOCK_STREAM, 0));
    CALL(bind(other, to, sizeof address));
    CALL(connect(other, to, sizeof address));
    CALL(listen(fd, 5));
    script_child(say_hello, &address);
    int peer = FD(accept(fd, NULL, NULL));
    CALL(read(peer, text, sizeof text));
    OPENS(open("socket", O_RDWR));
    script_list(".");
    CALL(rename("socket", "moved"));
    strcpy(address.sun_path, "moved");
    script_child(say_hello, &address);
    CALL(unlink("moved"));
    CALL(connect(other, to, sizeof address));
    close(other);
    close(peer);
    close(fd);
}

static void devices(void)
{
    CASE("device nodes");
    CALL(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    CALL(mknod("disk", S_IFBLK | 0640, makedev(7, 200)));
    CALL(mknod("high", S_IFCHR | 0600, makedev(300, 70000)));
    script_stat("null");
    script_stat("disk");
    script_stat("high");
    script_list(".");
    CALL(chmod("null", 0600));
    CALL(rename("null", "zero"));
    script_stat("zero");
    unlink("zero");
    unlink("null");
    unlink("disk");
    unlink("high");
    CASE("mknod of other kinds");
    CALL(mknod("plain", 0640, 0));
    script_stat("plain");
    CALL(mknod("plain", S_IFREG | 0600, 0));
    CALL(mknod("file", S_IFREG | 06755, 0));
    script_stat("file");
    CALL(mknod("fifo", S_IFIFO | 0600, 0));
    script_stat("fifo");
    CALL(mknod("socket", S_IFSOCK | 0600, 0));
    script_stat("socket");
    CALL(mknod("folder", S_IFDIR | 0700, 0));
    CALL(mknod("link", S_IFLNK | 0700, 0));
}

void posix_kinds(void)
{
    fifos();
    sockets();
    devices();
}
