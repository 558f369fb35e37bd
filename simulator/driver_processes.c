/* Who is on a device.
 *
 * A scenario says when a process comes and goes; one that follows also goes with its pid, so that a
 * test which kills a workload need not tell the driver. When that was is known from the last look at
 * which the pid was there: never later than the truth, as no driver samples a process that has ended. */
#define _GNU_SOURCE
#include "driver.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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
        process->seen_ns = process->gone ? process->seen_ns : now_ns;
    }
    return process->gone;
}

int64_t end_of(const struct process *process) {
    return process->gone && process->seen_ns < process->end_ns ? process->seen_ns : process->end_ns;
}

bool is_here(struct process *process, int64_t now_ns) {
    return process->start_ns <= now_ns && now_ns < process->end_ns && !is_gone(process, now_ns);
}

bool is_within(const struct process *process, const struct instance *instance) {
    return !instance || (process->gpu_instance == instance->gpu_instance &&
                         process->compute_instance == instance->compute_instance);
}

int64_t used_bytes(struct device *device, const struct instance *instance, int64_t now_ns) {
    int64_t bytes = instance ? 0 : device->unlisted_bytes;
    for (size_t i = 0; i < device->process_count; i++)
        if (is_within(&device->processes[i], instance) && is_here(&device->processes[i], now_ns))
            bytes += value_at(&device->processes[i].memory_bytes, now_ns);
    return bytes;
}

/* ---- lines with one pid: two contexts of a process, or a pid that was used again ---- */

struct pid_place {
    int64_t pid;
    size_t index;
};

static int by_pid(const void *a, const void *b) {
    const struct pid_place *left = a, *right = b;
    int64_t order = left->pid != right->pid ? left->pid - right->pid : (int64_t)left->index - (int64_t)right->index;
    return (order > 0) - (order < 0);
}

bool join_pids(struct device *device) {
    size_t count = device->process_count;
    struct pid_place *places = malloc((count + 1) * sizeof *places);
    if (!places)
        return false;
    for (size_t i = 0; i < count; i++)
        places[i] = (struct pid_place){device->processes[i].pid, i};
    qsort(places, count, sizeof *places, by_pid);
    for (size_t i = 0; i < count; i++) {
        struct process *process = &device->processes[places[i].index];
        process->older = i && places[i - 1].pid == places[i].pid ? (int64_t)places[i - 1].index : -1;
        process->heads = i + 1 == count || places[i + 1].pid != places[i].pid;
    }
    free(places);
    return true;
}

/* ---- a scenario that is replaced ---- */

static bool same_line(const struct process *a, const struct process *b) {
    return a->pid == b->pid && a->kind == b->kind && a->start_ns == b->start_ns && a->follow == b->follow;
}

/* Starts where the last search ended: files are written again in their order, and are long. */
static const struct process *find_line(const struct device *device, const struct process *wanted, size_t *cursor) {
    for (size_t tried = 0; tried < device->process_count; tried++, ++*cursor) {
        *cursor = *cursor < device->process_count ? *cursor : 0;
        if (same_line(&device->processes[*cursor], wanted))
            return &device->processes[(*cursor)++];
    }
    return NULL;
}

static void take_over_device(struct device *device, const struct device *before) {
    size_t cursor = 0;
    for (size_t i = 0; i < device->process_count; i++) {
        struct process *process = &device->processes[i];
        const struct process *known = process->follow ? find_line(before, process, &cursor) : NULL;
        if (!known)
            continue;
        process->asked_ns = known->asked_ns;
        process->seen_ns = known->seen_ns;
        process->gone = known->gone;
    }
}

void take_over_seen(struct scenario *scenario, const struct scenario *before) {
    for (size_t i = 0; i < scenario->device_count; i++) {
        struct device *device = &scenario->devices[i];
        /* Of one that is new here the writer of the file has known last. */
        for (size_t j = 0; j < device->process_count; j++)
            device->processes[j].seen_ns = scenario->written_ns;
        for (size_t j = 0; before && j < before->device_count; j++)
            if (!strcmp(before->devices[j].uuid, device->uuid))
                take_over_device(device, &before->devices[j]);
    }
}
