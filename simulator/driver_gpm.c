/* Calls about activity between two samples (GPM), which Hopper has and what came after it: of a device,
 * and of a GPU instance.
 *
 * A sample holds counters: the integral of utilization until the last refresh, each 100 ms. As on a
 * board nobody looks whether two samples are of one and the same: who compares an instance with one
 * that was created under its id, or with another board, gets a number that means nothing. */
#include "driver.h"

#include <string.h>

enum { MAX_SAMPLES = 1024 }; /* so that a program that frees none is found out */

static const int64_t REFRESH_NS = 100000000;

struct nvmlGpmSample_st {
    bool taken;
    int64_t at_ns;                 /* 0: nothing has been read into it */
    __int128 graphics, sm, slices; /* percent over ns, summed over compute slices */
};
static struct nvmlGpmSample_st samples[MAX_SAMPLES]; /* behind the lock that calls hold */

static struct nvmlGpmSample_st *sample_at(nvmlGpmSample_t sample) {
    uintptr_t offset = (uintptr_t)sample - (uintptr_t)samples;
    bool ours = offset % sizeof *samples == 0 && offset / sizeof *samples < MAX_SAMPLES;
    return ours && sample->taken ? sample : NULL;
}

static bool has_gpm(const struct device *device) {
    static const char *const NAMES[] = {"H100", "H200", "H800", "H20", "B100", "B200", "B300"};
    for (size_t i = 0; device->gpm < 0 && i < sizeof NAMES / sizeof *NAMES; i++)
        if (strstr(device->name, NAMES[i]))
            return true;
    return device->gpm > 0;
}

/* ---- buffers ---- */

nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, __func__);
    size_t free = 0;
    while (free < MAX_SAMPLES && samples[free].taken)
        free++;
    if (answer == NVML_SUCCESS && !sample)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS && free == MAX_SAMPLES)
        answer = NVML_ERROR_MEMORY;
    if (answer == NVML_SUCCESS) {
        samples[free] = (struct nvmlGpmSample_st){.taken = true};
        *sample = &samples[free];
    }
    return close_call(answer);
}

nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, __func__);
    if (answer == NVML_SUCCESS && !sample_at(sample))
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        sample->taken = false;
    return close_call(answer);
}

/* ---- reading ---- */

static void add_counters(struct nvmlGpmSample_st *sample, const struct schedule *graphics, const struct schedule *sm,
                         int64_t slices) {
    bool told = sm->count || sm->always; /* else SMs are as busy as the whole */
    sample->graphics += slices * integral_until(graphics, sample->at_ns);
    sample->sm += slices * integral_until(told ? sm : graphics, sample->at_ns);
}

static void begin_sample(struct nvmlGpmSample_st *sample, int64_t now_ns, int64_t slices) {
    *sample = (struct nvmlGpmSample_st){.taken = true, .at_ns = now_ns / REFRESH_NS * REFRESH_NS, .slices = slices};
}

static void read_device(struct nvmlGpmSample_st *sample, const struct call *call) {
    begin_sample(sample, call->now_ns, 1);
    add_counters(sample, &call->device->utilization, &call->device->sm_utilization, 1);
}

/* A GPU instance is as busy as its compute instances are, each by its slices. */
static bool read_gpu_instance(struct nvmlGpmSample_st *sample, const struct call *call, int64_t gpu_instance) {
    bool found = false;
    for (size_t i = 0; i < call->device->instance_count; i++) {
        const struct instance *instance = &call->device->instances[i];
        if (instance->gpu_instance != gpu_instance)
            continue;
        if (!found)
            begin_sample(sample, call->now_ns, instance->gpu_slices);
        found = true;
        add_counters(sample, &instance->utilization, &instance->sm_utilization, instance->compute_slices);
    }
    return found;
}

static nvmlReturn_t check_reading(const struct call *call, nvmlGpmSample_t sample) {
    if (!has_gpm(call->device))
        return NVML_ERROR_NOT_SUPPORTED;
    return sample_at(sample) ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t handle, nvmlGpmSample_t sample) {
    struct call call;
    nvmlReturn_t answer = open_any_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS)
        answer = check_reading(&call, sample);
    if (answer == NVML_SUCCESS && call.instance)
        read_gpu_instance(sample, &call, call.instance->gpu_instance);
    else if (answer == NVML_SUCCESS)
        read_device(sample, &call);
    return close_call(answer);
}

nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t handle, unsigned int gpu_instance, nvmlGpmSample_t sample) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS)
        answer = check_reading(&call, sample);
    if (answer == NVML_SUCCESS && call.device->mig != MIG_ENABLED)
        answer = NVML_ERROR_NOT_SUPPORTED;
    if (answer == NVML_SUCCESS && !read_gpu_instance(sample, &call, (int64_t)gpu_instance))
        answer = NVML_ERROR_NOT_FOUND;
    return close_call(answer);
}

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t handle, nvmlGpmSupport_t *support) {
    struct call call;
    nvmlReturn_t answer = open_any_asking(&call, __func__, handle, support);
    if (answer == NVML_SUCCESS && support->version != NVML_GPM_SUPPORT_VERSION)
        answer = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (answer == NVML_SUCCESS)
        support->isSupportedDevice = has_gpm(call.device);
    return close_call(answer);
}

/* ---- comparing ---- */

static void give_metric(nvmlGpmMetric_t *metric, const struct nvmlGpmSample_st *first,
                        const struct nvmlGpmSample_st *second) {
    static char graphics[] = "graphics_util", sm[] = "sm_util", percent[] = "%";
    bool is_graphics = metric->metricId == NVML_GPM_METRIC_GRAPHICS_UTIL;
    int64_t length_ns = second->at_ns - first->at_ns;
    metric->nvmlReturn = NVML_SUCCESS;
    if (!is_graphics && metric->metricId != NVML_GPM_METRIC_SM_UTIL)
        metric->nvmlReturn = metric->metricId && metric->metricId < NVML_GPM_METRIC_MAX ? NVML_ERROR_NOT_SUPPORTED
                                                                                        : NVML_ERROR_INVALID_ARGUMENT;
    else if (length_ns <= 0) /* both of one refresh, or the wrong way round */
        metric->nvmlReturn = NVML_ERROR_NO_DATA;
    if (metric->nvmlReturn != NVML_SUCCESS)
        return;
    __int128 busy = is_graphics ? second->graphics - first->graphics : second->sm - first->sm;
    metric->value = (double)busy / (double)(second->slices * length_ns);
    metric->metricInfo.shortName = metric->metricInfo.longName = is_graphics ? graphics : sm;
    metric->metricInfo.unit = percent;
}

static nvmlReturn_t check_metrics(const nvmlGpmMetricsGet_t *get) {
    if (!get)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (get->version != NVML_GPM_METRICS_GET_VERSION)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    const struct nvmlGpmSample_st *first = sample_at(get->sample1), *second = sample_at(get->sample2);
    bool read = first && second && first->at_ns && second->at_ns;
    return read && get->numMetrics <= NVML_GPM_METRIC_MAX ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *get) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, __func__);
    if (answer == NVML_SUCCESS)
        answer = check_metrics(get);
    for (unsigned int i = 0; answer == NVML_SUCCESS && i < get->numMetrics; i++)
        give_metric(&get->metrics[i], get->sample1, get->sample2);
    return close_call(answer);
}
