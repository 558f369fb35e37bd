/* Who is on a device.
 *
 * A scenario says when a process comes and goes; one that follows also goes with its pid, so that a
 * test which kills a workload need not tell the driver. */
#define _GNU_SOURCE
#include "driver.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const int64_t ASK_AGAIN_NS = 5000000;

/* Gone from /proc, or a zombie: it holds no driver file any more. */
static bool has_ended(int64_t pid) {
    char path[32], stat[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return true;
    ssize_t length = read(file, stat, sizeof stat - 1);
    close(file);
    stat[length > 0 ? length : 0] = 0;
    /* The name stands in brackets and may hold any letter; the state follows the last bracket. */
    const char *name_end = strrchr(stat, ')');
    return !name_end || name_end[1] != ' ' || name_end[2] == 'Z' || name_end[2] == 'X';
}

/* Asked at most every 5 ms, as reading /proc costs more than all else in a call. */
bool is_gone(struct process *process, int64_t now_ns) {
    if (!process->follow || process->gone)
        return process->gone;
    if (!process->asked_ns || now_ns - process->asked_ns >= ASK_AGAIN_NS) {
        process->asked_ns = now_ns;
        process->gone = has_ended(process->pid);
    }
    return process->gone;
}

bool is_here(struct process *process, int64_t now_ns) {
    return process->start_ns <= now_ns && now_ns < process->end_ns && !is_gone(process, now_ns);
}

int64_t used_bytes(struct device *device, int64_t now_ns) {
    int64_t bytes = device->unlisted_bytes;
    for (size_t i = 0; i < device->process_count; i++)
        if (is_here(&device->processes[i], now_ns))
            bytes += value_at(&device->processes[i].memory_bytes, now_ns);
    return bytes;
}
