/* Put before libc by LD_PRELOAD: notes each write and each flush of a regular file, in order, in $FLUSH_NOTES.
 * One line each: what was done, and the file. "through" is a write that returns only when it is on the disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int notes_fd(void) {
    static int fd = -1;
    const char *path = getenv("FLUSH_NOTES");
    if (fd < 0 && path != NULL)
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return fd;
}

static void note(const char *what, const char *file) {
    char line[PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%s %s\n", what, file);
    syscall(SYS_write, notes_fd(), line, (size_t)length);
}

static void note_fd(const char *what, int fd) {
    char link[64], file[PATH_MAX];
    struct stat found;
    if (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode))
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, file, sizeof file - 1);
    if (length <= 0)
        return;
    file[length] = '\0';
    note(what, file);
}

static void note_write(int fd) {
    int flags = fcntl(fd, F_GETFL);
    note_fd(flags >= 0 && (flags & O_DSYNC) ? "through" : "write", fd);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) { note_write(fd); return REAL(write)(fd, data, size); }
ssize_t writev(int fd, const struct iovec *part, int count) { note_write(fd); return REAL(writev)(fd, part, count); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    note_write(fd);
    return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    note_write(fd);
    return REAL(pwrite64)(fd, data, size, at);
}
ssize_t pwritev(int fd, const struct iovec *part, int count, off_t at) {
    note_write(fd);
    return REAL(pwritev)(fd, part, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *part, int count, off64_t at) {
    note_write(fd);
    return REAL(pwritev64)(fd, part, count, at);
}

/* A flush counts when it has come back, and without an error. */
static int flushed(int fd, int result) {
    if (result == 0)
        note_fd("flush", fd);
    return result;
}
int fsync(int fd) { return flushed(fd, REAL(fsync)(fd)); }
int fdatasync(int fd) { return flushed(fd, REAL(fdatasync)(fd)); }
int msync(void *start, size_t size, int flags) {
    int result = REAL(msync)(start, size, flags);
    note("msync", "memory");
    return result;
}
