/* Calls that fill arrays of the caller: who is on a device.
 *
 * The size protocol: a caller without room is told INSUFFICIENT_SIZE and the count it needs; SUCCESS
 * with a count of zero says that there is nothing. Between two calls the list may grow. */
#include "driver.h"

#include <string.h>

/* Rows of different symbols differ in length and agree in how they begin. */
enum row { ROW_V1 = sizeof(nvmlProcessInfo_v1_t), ROW_V2 = sizeof(nvmlProcessInfo_v2_t) };

static unsigned int count_listed(struct device *device, enum kind kind, int64_t now_ns) {
    unsigned int count = 0;
    for (size_t i = 0; i < device->process_count; i++)
        count += is_listed(&device->processes[i], kind, now_ns);
    return count;
}

static nvmlProcessInfo_v2_t row_of(const struct process *process, int64_t now_ns) {
    return (nvmlProcessInfo_v2_t){
        .pid = (unsigned int)process->pid,
        .usedGpuMemory = process->memory_unavailable
                             ? (unsigned long long)NVML_VALUE_NOT_AVAILABLE
                             : (unsigned long long)value_at(&process->memory_bytes, now_ns),
        .gpuInstanceId = (unsigned int)process->gpu_instance, /* -1: 0xffffffff, as the header says */
        .computeInstanceId = (unsigned int)process->compute_instance,
    };
}

static void fill_rows(struct device *device, enum kind kind, int64_t now_ns, enum row row_bytes, char *rows) {
    for (size_t i = 0; i < device->process_count; i++) {
        if (!is_listed(&device->processes[i], kind, now_ns))
            continue;
        nvmlProcessInfo_v2_t row = row_of(&device->processes[i], now_ns);
        memcpy(rows, &row, row_bytes);
        rows += row_bytes;
    }
}

static nvmlReturn_t answer_list(struct call *call, enum kind kind, enum row row_bytes, unsigned int *count,
                                void *rows) {
    unsigned int needed = count_listed(call->device, kind, call->now_ns);
    unsigned int room = rows ? *count : 0;
    *count = needed;
    if (room < needed)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    if (needed)
        fill_rows(call->device, kind, call->now_ns, row_bytes, rows);
    return NVML_SUCCESS;
}

static nvmlReturn_t give_list(const char *function, nvmlDevice_t handle, enum kind kind, enum row row_bytes,
                              unsigned int *count, void *rows) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, function, handle);
    if (answer == NVML_SUCCESS && (!count || (*count && !rows)))
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        answer = answer_list(&call, kind, row_bytes, count, rows);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t handle, unsigned int *count,
                                                  nvmlProcessInfo_v1_t *rows) {
    return give_list(__func__, handle, COMPUTE, ROW_V1, count, rows);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t handle, unsigned int *count,
                                                     nvmlProcessInfo_v2_t *rows) {
    return give_list(__func__, handle, COMPUTE, ROW_V2, count, rows);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                     nvmlProcessInfo_t *rows) {
    return give_list(__func__, handle, COMPUTE, ROW_V2, count, rows);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t handle, unsigned int *count,
                                                   nvmlProcessInfo_v1_t *rows) {
    return give_list(__func__, handle, GRAPHICS, ROW_V1, count, rows);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t handle, unsigned int *count,
                                                      nvmlProcessInfo_v2_t *rows) {
    return give_list(__func__, handle, GRAPHICS, ROW_V2, count, rows);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                      nvmlProcessInfo_t *rows) {
    return give_list(__func__, handle, GRAPHICS, ROW_V2, count, rows);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses(nvmlDevice_t handle, unsigned int *count,
                                                     nvmlProcessInfo_v1_t *rows) {
    return give_list(__func__, handle, MPS, ROW_V1, count, rows);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v2(nvmlDevice_t handle, unsigned int *count,
                                                        nvmlProcessInfo_v2_t *rows) {
    return give_list(__func__, handle, MPS, ROW_V2, count, rows);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                        nvmlProcessInfo_t *rows) {
    return give_list(__func__, handle, MPS, ROW_V2, count, rows);
}
