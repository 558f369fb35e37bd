/* Put before libc by LD_PRELOAD: once armed, some calls on files whose path has $FAIL_IN in it fail without being made.
 * A disk that fails says so by EIO, one that is full by ENOSPC, one whose user is over quota by EDQUOT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* What may fail; tests/faults/errors_inside.py has the same order. */
enum { WRITE = 0, FLUSH = 1, RESERVE = 2, RENAME = 3, READ = 4, HALF = 5 };

static int armed = -1, error, calls, hits;
static int first, last; /* the calls that fail, counted from 1 */

void fail_arm(int what, int nth, int times, int with) {
    armed = what, first = nth, last = nth + times - 1, error = with, calls = 0, hits = 0;
}
/* How many calls of the armed kind there were. */
int fail_calls(void) { return calls; }
int fail_disarm(void) {
    armed = -1;
    return hits;
}

static int ours(const char *path) {
    const char *in = getenv("FAIL_IN");
    return in != NULL && strstr(path, in) != NULL;
}
static int ours_fd(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = '\0';
    return ours(path);
}

static int now(int what) {
    calls++;
    if (calls < first || calls > last)
        return 0;
    hits++;
    errno = error;
    return what >= 0;
}
static int fails(int what, int fd) { return armed == what && ours_fd(fd) && now(what); }

/* A write that stores less than it was given is no error, and must be gone on with. */
static size_t part_of(int fd, size_t size) { return size > 1 && fails(HALF, fd) ? size / 2 : size; }

ssize_t write(int fd, const void *data, size_t size) {
    return fails(WRITE, fd) ? -1 : REAL(write)(fd, data, part_of(fd, size));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return fails(WRITE, fd) ? -1 : REAL(pwrite)(fd, data, part_of(fd, size), at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return fails(WRITE, fd) ? -1 : REAL(pwrite64)(fd, data, part_of(fd, size), at);
}
ssize_t writev(int fd, const struct iovec *part, int count) {
    return fails(WRITE, fd) ? -1 : REAL(writev)(fd, part, count);
}
ssize_t pwritev(int fd, const struct iovec *part, int count, off_t at) {
    return fails(WRITE, fd) ? -1 : REAL(pwritev)(fd, part, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *part, int count, off64_t at) {
    return fails(WRITE, fd) ? -1 : REAL(pwritev64)(fd, part, count, at);
}
ssize_t pread(int fd, void *data, size_t size, off_t at) { return fails(READ, fd) ? -1 : REAL(pread)(fd, data, size, at); }
ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    return fails(READ, fd) ? -1 : REAL(pread64)(fd, data, size, at);
}
int fsync(int fd) { return fails(FLUSH, fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(FLUSH, fd) ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { return fails(RESERVE, fd) ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return fails(RESERVE, fd) ? -1 : REAL(ftruncate64)(fd, size); }
/* This one returns its error. */
int posix_fallocate(int fd, off_t at, off_t size) {
    return fails(RESERVE, fd) ? error : REAL(posix_fallocate)(fd, at, size);
}
int posix_fallocate64(int fd, off64_t at, off64_t size) {
    return fails(RESERVE, fd) ? error : REAL(posix_fallocate64)(fd, at, size);
}
int rename(const char *from, const char *to) {
    return armed == RENAME && ours(from) && now(RENAME) ? -1 : REAL(rename)(from, to);
}
