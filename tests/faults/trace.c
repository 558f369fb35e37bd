/* Put before libc by LD_PRELOAD: notes whatever changes files in $TRACE_FOLDER, with its bytes and in order, in
 * $TRACE_TO, and each flush when it has come back without an error. trace_mark notes numbers of the program's own.
 * Memory that is mapped and written is not seen: LMDB so writes only its lock table, SQLite only its index of the
 * write-ahead log, and both make these anew. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* tests/faults/trace.py reads this. */
struct head {
    uint8_t kind; /* w: write, t: write through, s: size, f: flush, r: rename, u: unlink, m: mark */
    uint8_t pad[3];
    uint32_t path_bytes, data_bytes, more;
    uint64_t inode, offset;
};

static void note(char kind, uint64_t inode, uint64_t offset, const char *path, const void *data, size_t size) {
    static int fd = -1;
    if (fd < 0) {
        const char *to = getenv("TRACE_TO");
        if (to == NULL || (fd = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
            return;
    }
    struct head head = {.kind = (uint8_t)kind, .path_bytes = (uint32_t)strlen(path), .data_bytes = (uint32_t)size,
                        .inode = inode, .offset = offset};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, head.path_bytes}, {(void *)data, size}};
    syscall(SYS_writev, fd, parts, 3);
}

static int ours(const char *path) {
    const char *folder = getenv("TRACE_FOLDER");
    return folder != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

/* 0: not a file of ours. */
static int whose(int fd, char path[PATH_MAX], struct stat *found) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0 || fstat(fd, found) != 0)
        return 0;
    path[length] = '\0';
    return ours(path) && (S_ISREG(found->st_mode) || S_ISDIR(found->st_mode));
}

static void note_fd(char kind, int fd, uint64_t offset, const void *data, size_t size) {
    char path[PATH_MAX];
    struct stat found;
    if (!whose(fd, path, &found))
        return;
    int flags = fcntl(fd, F_GETFL);
    if (kind == 'w' && (flags & O_DSYNC))
        kind = 't';
    if (kind == 'w' && (flags & O_APPEND))
        offset = (uint64_t)found.st_size;
    note(kind, found.st_ino, offset, path, data, size);
}

static void note_parts(int fd, const struct iovec *part, int count, off_t at) {
    for (int each = 0; each < count; each++) {
        note_fd('w', fd, (uint64_t)at, part[each].iov_base, part[each].iov_len);
        at += (off_t)part[each].iov_len;
    }
}

static off_t here(int fd) { return lseek(fd, 0, SEEK_CUR); }

ssize_t write(int fd, const void *data, size_t size) {
    note_fd('w', fd, (uint64_t)here(fd), data, size);
    return REAL(write)(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *part, int count) {
    note_parts(fd, part, count, here(fd));
    return REAL(writev)(fd, part, count);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    note_fd('w', fd, (uint64_t)at, data, size);
    return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    note_fd('w', fd, (uint64_t)at, data, size);
    return REAL(pwrite64)(fd, data, size, at);
}
ssize_t pwritev(int fd, const struct iovec *part, int count, off_t at) {
    note_parts(fd, part, count, at);
    return REAL(pwritev)(fd, part, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *part, int count, off64_t at) {
    note_parts(fd, part, count, at);
    return REAL(pwritev64)(fd, part, count, at);
}

int ftruncate(int fd, off_t size) { note_fd('s', fd, (uint64_t)size, "", 0); return REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { note_fd('s', fd, (uint64_t)size, "", 0); return REAL(ftruncate64)(fd, size); }

/* Only what it adds counts: a file that is longer keeps its length. */
static void note_reserved(int fd, off_t end) {
    struct stat found;
    if (fstat(fd, &found) == 0 && found.st_size < end)
        note_fd('s', fd, (uint64_t)end, "", 0);
}
int posix_fallocate(int fd, off_t at, off_t size) {
    note_reserved(fd, at + size);
    return REAL(posix_fallocate)(fd, at, size);
}
int posix_fallocate64(int fd, off64_t at, off64_t size) {
    note_reserved(fd, at + size);
    return REAL(posix_fallocate64)(fd, at, size);
}

static int flushed(int fd, int result) {
    if (result == 0)
        note_fd('f', fd, 0, "", 0);
    return result;
}
int fsync(int fd) { return flushed(fd, REAL(fsync)(fd)); }
int fdatasync(int fd) { return flushed(fd, REAL(fdatasync)(fd)); }

int rename(const char *from, const char *to) {
    if (ours(from))
        note('r', 0, 0, from, to, strlen(to));
    return REAL(rename)(from, to);
}
int unlink(const char *path) {
    if (ours(path))
        note('u', 0, 0, path, "", 0);
    return REAL(unlink)(path);
}

void trace_mark(uint64_t first, uint64_t second, uint64_t third) {
    uint64_t numbers[3] = {first, second, third};
    note('m', 0, 0, "", numbers, sizeof numbers);
}
