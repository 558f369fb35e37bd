/* Calls that read what the driver sampled lately.
 *
 * Samples carry wall-clock stamps in microseconds, as the driver's do, and stand on a grid of that
 * clock: two callers see the same stamps, and the newest is up to a period old. Each pid has a phase
 * of its own, since real samples do not come all at once. */
#include "driver.h"

#include <time.h>

enum { RING = 64 }; /* samples of each thing that the driver remembers */

static const int64_t FOREIGN_PID = 999999999;
static const int64_t HOUR_US = 3600000000;

struct sample {
    int64_t pid, stamp_us, sm_percent;
};

struct clocks {
    int64_t boot_ns, wall_us, period_us;
};

static struct clocks clocks_of(const struct call *call) {
    struct moment now = moment_now();
    return (struct clocks){now.boot_ns, now.wall_ns / 1000, call->scenario->sample_period_ns / 1000};
}

/* The moment of a stamp on the clock that schedules speak of. */
static int64_t boot_ns_of(const struct clocks *clocks, int64_t stamp_us) {
    return clocks->boot_ns - (clocks->wall_us - stamp_us) * 1000;
}

/* The last point of the grid that is not after at_us. */
static int64_t grid_before(const struct clocks *clocks, int64_t at_us, int64_t phase_us) {
    int64_t since_us = (at_us - phase_us) % clocks->period_us;
    return at_us - (since_us < 0 ? since_us + clocks->period_us : since_us);
}

/* The last whole microsecond in which the process was there. */
static int64_t last_us(const struct clocks *clocks, const struct process *process) {
    int64_t end_ns = end_of(process);
    if (end_ns > clocks->boot_ns)
        return clocks->wall_us;
    return clocks->wall_us - (clocks->boot_ns - end_ns) / 1000 - 1;
}

/* Could this be the stamp of a sample that is still remembered, of a process that was there? */
static bool is_remembered(const struct clocks *clocks, const struct process *process, int64_t stamp_us) {
    return boot_ns_of(clocks, stamp_us) >= process->start_ns && clocks->wall_us - stamp_us <= RING * clocks->period_us;
}

/* The newest sample of a process, however short it lived, if the caller has not seen it. Samples in
 * which it did nothing are not given: the newest is then an older one. */
static bool newest_sample(const struct clocks *clocks, struct process *process, int64_t seen_us,
                          struct sample *into) {
    if (process->start_ns > clocks->boot_ns)
        return false;
    if (process->end_ns > clocks->boot_ns)
        is_gone(process, clocks->boot_ns);
    int64_t phase_us = process->pid * 7919 % clocks->period_us;
    int64_t stamp_us = grid_before(clocks, last_us(clocks, process), phase_us);
    for (; stamp_us > seen_us && is_remembered(clocks, process, stamp_us); stamp_us -= clocks->period_us) {
        int64_t sm_percent = value_at(&process->sm_percent, boot_ns_of(clocks, stamp_us));
        *into = (struct sample){process->pid, stamp_us, sm_percent};
        if (sm_percent || !process->sm_percent.count)
            return sm_percent > 0;
    }
    return false;
}

static bool is_newer(const struct sample *sample, const struct sample *than) {
    return sample->stamp_us > than->stamp_us ||
           (sample->stamp_us == than->stamp_us && sample->sm_percent > than->sm_percent);
}

/* One sample for each pid, whatever it has on the device and whoever had it before. */
static bool newest_of_pid(const struct clocks *clocks, struct device *device, struct process *head, int64_t seen_us,
                          struct sample *into) {
    *into = (struct sample){0};
    for (struct process *process = head; process;
         process = process->older < 0 ? NULL : &device->processes[process->older]) {
        struct sample sample;
        if (newest_sample(clocks, process, seen_us, &sample) && is_newer(&sample, into))
            *into = sample;
    }
    return into->stamp_us > 0;
}

/* Where samples go: rows of the caller, in the layout of the symbol; more are counted than fit. */
struct sink {
    void (*put)(void *rows, size_t index, const struct sample *sample);
    void *rows;
    size_t room, count;
};

static void give(struct sink *sink, int64_t pid, int64_t stamp_us, int64_t sm_percent) {
    struct sample sample = {pid, stamp_us, sm_percent};
    if (sink->count < sink->room)
        sink->put(sink->rows, sink->count, &sample);
    sink->count++;
}

/* What buggy drivers put among the samples. */
static void give_oddities(const struct device *device, int64_t wall_us, struct sink *sink) {
    int64_t pid = device->process_count ? device->processes[0].pid : 1;
    if (device->quirks & QUIRK_ZEROS) {
        give(sink, 0, 0, 0);
        give(sink, 0, 0, 0);
    }
    if (device->quirks & QUIRK_JUNK) {
        give(sink, FOREIGN_PID, wall_us, 50);
        give(sink, pid, wall_us, 999);
        give(sink, pid, wall_us + HOUR_US, 50);
    }
}

static void give_samples(const struct call *call, int64_t seen_us, struct sink *sink) {
    struct clocks clocks = clocks_of(call);
    bool wild = call->device->quirks & QUIRK_WILD_UTILIZATION;
    struct sample sample;
    for (size_t i = 0; i < call->device->process_count; i++) {
        struct process *process = &call->device->processes[i];
        if (process->heads && newest_of_pid(&clocks, call->device, process, seen_us, &sample))
            give(sink, sample.pid, sample.stamp_us, wild ? WILD_PERCENT : sample.sm_percent);
    }
    give_oddities(call->device, clocks.wall_us, sink);
}

static nvmlReturn_t answer_samples(const struct call *call, unsigned long long seen_us, struct sink *sink,
                                   unsigned int *count) {
    if (!has_utilization(call->device))
        return NVML_ERROR_NOT_SUPPORTED;
    give_samples(call, seen_us > INT64_MAX ? INT64_MAX : (int64_t)seen_us, sink);
    *count = (unsigned int)sink->count;
    if (!sink->count)
        return call->device->quirks & QUIRK_EMPTY_SUCCESS ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
    return sink->count > sink->room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

/* ---- per process, in two layouts ---- */

static void put_sample(void *rows, size_t index, const struct sample *sample) {
    ((nvmlProcessUtilizationSample_t *)rows)[index] = (nvmlProcessUtilizationSample_t){
        .pid = (unsigned int)sample->pid,
        .timeStamp = (unsigned long long)sample->stamp_us,
        .smUtil = (unsigned int)sample->sm_percent,
    };
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t handle, nvmlProcessUtilizationSample_t *rows,
                                             unsigned int *count, unsigned long long seen_us) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, __func__, handle);
    struct sink sink = {put_sample, rows, rows && count ? *count : 0, 0};
    if (answer == NVML_SUCCESS)
        answer = count ? answer_samples(&call, seen_us, &sink, count) : NVML_ERROR_INVALID_ARGUMENT;
    return close_call(answer);
}

static void put_info(void *rows, size_t index, const struct sample *sample) {
    ((nvmlProcessUtilizationInfo_v1_t *)rows)[index] = (nvmlProcessUtilizationInfo_v1_t){
        .pid = (unsigned int)sample->pid,
        .timeStamp = (unsigned long long)sample->stamp_us,
        .smUtil = (unsigned int)sample->sm_percent,
    };
}

nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t handle, nvmlProcessesUtilizationInfo_t *info) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS && !info)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS && info->version != nvmlProcessesUtilizationInfo_v1)
        answer = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (answer == NVML_SUCCESS) {
        struct sink sink = {put_info, info->procUtilArray, info->procUtilArray ? info->processSamplesCount : 0, 0};
        answer = answer_samples(&call, info->lastSeenTimeStamp, &sink, &info->processSamplesCount);
    }
    return close_call(answer);
}

/* ---- per device ---- */

static const struct schedule *sampled(const struct device *device, nvmlSamplingType_t type) {
    if (type == NVML_TOTAL_POWER_SAMPLES)
        return &device->power_mw;
    if (!has_utilization(device))
        return NULL;
    if (type == NVML_GPU_UTILIZATION_SAMPLES)
        return &device->utilization;
    return type == NVML_MEMORY_UTILIZATION_SAMPLES ? &device->memory_utilization : NULL;
}

/* Oldest first. Without rows only counts; with rows gives as many as there is room for. */
static unsigned int give_history(const struct clocks *clocks, const struct schedule *schedule, int64_t seen_us,
                                 nvmlSample_t *rows, unsigned int room) {
    unsigned int count = 0;
    int64_t newest_us = grid_before(clocks, clocks->wall_us, 0);
    for (int64_t back = RING - 1; back >= 0 && (!rows || count < room); back--) {
        int64_t stamp_us = newest_us - back * clocks->period_us;
        if (stamp_us <= seen_us)
            continue;
        if (rows)
            rows[count] = (nvmlSample_t){
                .timeStamp = (unsigned long long)stamp_us,
                .sampleValue.uiVal = (unsigned int)value_at(schedule, boot_ns_of(clocks, stamp_us)),
            };
        count++;
    }
    return count;
}

static nvmlReturn_t answer_history(const struct call *call, const struct schedule *schedule,
                                   unsigned long long seen_us, unsigned int *count, nvmlSample_t *rows) {
    struct clocks clocks = clocks_of(call);
    if (!schedule)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = give_history(&clocks, schedule, seen_us > INT64_MAX ? INT64_MAX : (int64_t)seen_us, rows, *count);
    return *count ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t handle, nvmlSamplingType_t type, unsigned long long seen_us,
                                  nvmlValueType_t *value_type, unsigned int *count, nvmlSample_t *rows) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS && (!value_type || !count || (rows && !*count)))
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        *value_type = NVML_VALUE_TYPE_UNSIGNED_INT;
    if (answer == NVML_SUCCESS)
        answer = answer_history(&call, sampled(call.device, type), seen_us, count, rows);
    return close_call(answer);
}
