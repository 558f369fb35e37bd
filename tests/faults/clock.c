/* Put before libc by LD_PRELOAD: the wall clock and CLOCK_BOOTTIME are off by the nanoseconds in $CLOCK_OFFSETS, a file
 * with one int64 for each that may be changed at any time. CLOCK_MONOTONIC stays what it is: the truth. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offsets;

__attribute__((constructor)) static void look(void) {
    static const int64_t none[2];
    const char *path = getenv("CLOCK_OFFSETS");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *found = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    offsets = found == MAP_FAILED ? none : found;
    if (fd >= 0)
        close(fd);
}

static void move(struct timespec *told, int64_t by_ns) {
    int64_t ns = (int64_t)told->tv_sec * 1000000000 + told->tv_nsec + by_ns;
    told->tv_sec = ns / 1000000000;
    told->tv_nsec = ns % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *told) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, told);
    if (result == 0 && offsets != NULL) {
        if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
            move(told, offsets[0]);
        else if (clock == CLOCK_BOOTTIME)
            move(told, offsets[1]);
    }
    return result;
}
int gettimeofday(struct timeval *restrict told, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    told->tv_sec = now.tv_sec;
    told->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told != NULL)
        *told = now.tv_sec;
    return now.tv_sec;
}
