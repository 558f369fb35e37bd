/* Calls about what processes have used in all, while accounting was on.
 *
 * As in the open part of the driver (gpu_acct.c): there are 128 places for the ended of a device, the
 * oldest makes way; an ended process is found before a running one with its pid, and both stand in the list. A
 * process is recorded if accounting was on when it started. */
#include "driver_accounting.h"

#include <stdlib.h>

enum { BUFFER_SIZE = 4000, MOST_ENDED = 128 };
static const int64_t SECOND_NS = 1000000000;

struct records {
    struct settings settings;
    struct setting setting;
    struct process **ended; /* in the order of their ends, one for each pid */
    size_t ended_count, first_kept;
};

/* Opens what needs accounting to be on. */
static nvmlReturn_t open_records(struct call *call, const char *function, nvmlDevice_t handle, const void *into,
                                 struct records *records) {
    *records = (struct records){0};
    nvmlReturn_t answer = open_asking(call, function, handle, into);
    if (answer != NVML_SUCCESS)
        return answer;
    load_settings(&records->settings);
    records->setting = setting_of(call, &records->settings);
    bool on = can_account(call) && records->setting.accounting == ACCOUNTING_ENABLED;
    return on ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

static bool is_recorded(const struct records *records, const struct process *process, int64_t now_ns) {
    return process->start_ns <= now_ns && process->start_ns >= records->setting.since_ns;
}

static int by_end(const void *a, const void *b) {
    int64_t left_ns = end_of(*(struct process *const *)a), right_ns = end_of(*(struct process *const *)b);
    return (left_ns > right_ns) - (left_ns < right_ns);
}

/* The latest to end of all with this pid, or NULL. */
static struct process *ended_of_pid(const struct call *call, const struct records *records, struct process *head) {
    struct process *latest = NULL;
    for (struct process *one = head; one; one = one->older < 0 ? NULL : &call->device->processes[one->older]) {
        bool ended = is_recorded(records, one, call->now_ns) && !is_here(one, call->now_ns);
        if (ended && end_of(one) > records->setting.cleared_ns && (!latest || end_of(one) > end_of(latest)))
            latest = one;
    }
    return latest;
}

static struct process *running_of_pid(const struct call *call, const struct records *records, struct process *head) {
    for (struct process *one = head; one; one = one->older < 0 ? NULL : &call->device->processes[one->older])
        if (is_recorded(records, one, call->now_ns) && is_here(one, call->now_ns))
            return one;
    return NULL;
}

static bool gather_ended(const struct call *call, struct records *records) {
    struct device *device = call->device;
    records->ended = malloc((device->process_count + 1) * sizeof *records->ended);
    for (size_t i = 0; records->ended && i < device->process_count; i++) {
        struct process *head = &device->processes[i];
        struct process *found = head->heads ? ended_of_pid(call, records, head) : NULL;
        if (found)
            records->ended[records->ended_count++] = found;
    }
    if (!records->ended)
        return false;
    qsort(records->ended, records->ended_count, sizeof *records->ended, by_end);
    records->first_kept = records->ended_count > MOST_ENDED ? records->ended_count - MOST_ENDED : 0;
    return true;
}

/* The ended are looked for first. */
static struct process *find_record(const struct call *call, const struct records *records, unsigned int pid) {
    for (size_t i = records->first_kept; i < records->ended_count; i++)
        if (records->ended[i]->pid == (int64_t)pid)
            return records->ended[i];
    for (size_t i = 0; i < call->device->process_count; i++) {
        struct process *head = &call->device->processes[i];
        if (head->heads && head->pid == (int64_t)pid)
            return running_of_pid(call, records, head);
    }
    return NULL;
}

static unsigned int list_pids(const struct call *call, const struct records *records, unsigned int *pids,
                              unsigned int room) {
    unsigned int count = 0;
    for (size_t i = records->first_kept; i < records->ended_count; i++, count++)
        if (count < room)
            pids[count] = (unsigned int)records->ended[i]->pid;
    for (size_t i = 0; i < call->device->process_count; i++) {
        struct process *head = &call->device->processes[i];
        if (!head->heads || !running_of_pid(call, records, head))
            continue;
        if (count < room)
            pids[count] = (unsigned int)head->pid;
        count++;
    }
    return count;
}

nvmlReturn_t nvmlDeviceGetAccountingBufferSize(nvmlDevice_t handle, unsigned int *size) {
    struct call call;
    struct records records;
    nvmlReturn_t answer = open_records(&call, __func__, handle, size, &records);
    if (answer == NVML_SUCCESS)
        *size = BUFFER_SIZE;
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetAccountingPids(nvmlDevice_t handle, unsigned int *count, unsigned int *pids) {
    struct call call;
    struct records records;
    nvmlReturn_t answer = open_records(&call, __func__, handle, count, &records);
    if (answer == NVML_SUCCESS && !gather_ended(&call, &records))
        answer = NVML_ERROR_MEMORY;
    if (answer == NVML_SUCCESS) {
        unsigned int room = pids ? *count : 0;
        *count = list_pids(&call, &records, pids, room);
        answer = *count > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
    }
    free(records.ended);
    return close_call(answer);
}

/* ---- one record ---- */

static nvmlAccountingStats_v2_t stats_of(const struct call *call, const struct records *records,
                                         struct process *process) {
    bool running = is_here(process, call->now_ns);
    int64_t end_ns = running ? call->now_ns : end_of(process);
    int64_t added_ns = call->device->quirks & QUIRK_SLOW_ACCOUNTING ? end_ns / SECOND_NS * SECOND_NS : end_ns;
    int64_t length_ns = added_ns > process->start_ns ? added_ns - process->start_ns : 0;
    __int128 busy = length_ns ? integral_until(&process->sm_percent, added_ns) -
                                    integral_until(&process->sm_percent, process->start_ns) : 0;
    int64_t percent = length_ns ? (int64_t)(busy / length_ns) : 0;
    int64_t samples = length_ns / call->scenario->sample_period_ns;
    return (nvmlAccountingStats_v2_t){
        .pid = (unsigned int)process->pid,
        .isRunning = running,
        .gpuUtilization = has_utilization(call->device) ? (unsigned int)percent
                                                        : (unsigned int)NVML_VALUE_NOT_AVAILABLE,
        .maxMemoryUsage = process->memory_unavailable
                              ? (unsigned long long)NVML_VALUE_NOT_AVAILABLE
                              : (unsigned long long)most_between(&process->memory_bytes, process->start_ns, end_ns),
        .sampleCount = (unsigned int)samples,
        .sumGpuUtil = (unsigned long long)(percent * 100 * samples),
        .time = running ? 0 : (unsigned long long)((end_ns - process->start_ns) / 1000000),
        .startTime = (unsigned long long)((process->start_ns + records->settings.wall_minus_boot_ns) / 1000),
    };
}

static nvmlReturn_t give_stats(const char *function, nvmlDevice_t handle, unsigned int pid,
                               nvmlAccountingStats_v2_t *stats) {
    struct call call;
    struct records records;
    nvmlReturn_t answer = open_records(&call, function, handle, stats, &records);
    if (answer == NVML_SUCCESS && !gather_ended(&call, &records))
        answer = NVML_ERROR_MEMORY;
    struct process *found = answer == NVML_SUCCESS ? find_record(&call, &records, pid) : NULL;
    if (answer == NVML_SUCCESS && !found)
        answer = NVML_ERROR_NOT_FOUND;
    if (answer == NVML_SUCCESS)
        *stats = stats_of(&call, &records, found);
    free(records.ended);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetAccountingStats(nvmlDevice_t handle, unsigned int pid, nvmlAccountingStats_t *stats) {
    nvmlAccountingStats_v2_t known;
    nvmlReturn_t answer = give_stats(__func__, handle, pid, stats ? &known : NULL);
    if (answer == NVML_SUCCESS)
        *stats = (nvmlAccountingStats_t){
            .gpuUtilization = known.gpuUtilization,
            .memoryUtilization = known.memoryUtilization,
            .maxMemoryUsage = known.maxMemoryUsage,
            .time = known.time,
            .startTime = known.startTime,
            .isRunning = known.isRunning,
        };
    return answer;
}

nvmlReturn_t nvmlDeviceGetAccountingStats_v2(nvmlDevice_t handle, nvmlAccountingStats_v2_t *stats) {
    return give_stats(__func__, handle, stats ? stats->pid : 0, stats);
}
