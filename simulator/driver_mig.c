/* Calls about MIG devices: which there are, and what each is. */
#include "driver.h"

enum { MIB_SHIFT = 20 };

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t handle, unsigned int *current, unsigned int *pending) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, current);
    if (answer == NVML_SUCCESS && call.device->mig == MIG_UNSUPPORTED)
        answer = NVML_ERROR_NOT_SUPPORTED;
    if (answer == NVML_SUCCESS)
        *current = call.device->mig == MIG_ENABLED;
    if (answer == NVML_SUCCESS && pending)
        *pending = *current;
    return close_call(answer);
}

/* How many there can be, not how many there are: 0 where MIG is off. */
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t handle, unsigned int *count) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, count);
    if (answer == NVML_SUCCESS)
        *count = call.device->mig == MIG_ENABLED ? (unsigned int)call.device->mig_compute_slices : 0;
    return close_call(answer);
}

static const struct instance *instance_at(const struct device *device, unsigned int index) {
    for (size_t i = 0; i < device->instance_count; i++)
        if (device->instances[i].index == (int64_t)index)
            return &device->instances[i];
    return NULL;
}

static nvmlReturn_t give_mig_handle(const struct call *call, unsigned int index, nvmlDevice_t *mig) {
    if (call->device->mig != MIG_ENABLED)
        return NVML_ERROR_NOT_SUPPORTED;
    if (index >= call->device->mig_compute_slices)
        return NVML_ERROR_INVALID_ARGUMENT;
    const struct instance *instance = instance_at(call->device, index);
    if (!instance)
        return NVML_ERROR_NOT_FOUND;
    *mig = mig_handle(call, instance);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t handle, unsigned int index, nvmlDevice_t *mig) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, mig);
    if (answer == NVML_SUCCESS)
        answer = give_mig_handle(&call, index, mig);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t mig, nvmlDevice_t *handle) {
    struct call call;
    nvmlReturn_t answer = open_any_asking(&call, __func__, mig, handle);
    if (answer == NVML_SUCCESS && !call.instance)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        *handle = (nvmlDevice_t)(void *)call.slot;
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t handle, unsigned int *is_mig) {
    struct call call;
    nvmlReturn_t answer = open_any_asking(&call, __func__, handle, is_mig);
    if (answer == NVML_SUCCESS)
        *is_mig = call.instance != NULL;
    return close_call(answer);
}

/* Opens what only a MIG device can be asked. */
static nvmlReturn_t open_mig_asking(struct call *call, const char *function, nvmlDevice_t handle, const void *into) {
    nvmlReturn_t answer = open_any_asking(call, function, handle, into);
    return answer == NVML_SUCCESS && !call->instance ? NVML_ERROR_NOT_SUPPORTED : answer;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t handle, unsigned int *id) {
    struct call call;
    nvmlReturn_t answer = open_mig_asking(&call, __func__, handle, id);
    if (answer == NVML_SUCCESS)
        *id = (unsigned int)call.instance->gpu_instance;
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t handle, unsigned int *id) {
    struct call call;
    nvmlReturn_t answer = open_mig_asking(&call, __func__, handle, id);
    if (answer == NVML_SUCCESS)
        *id = (unsigned int)call.instance->compute_instance;
    return close_call(answer);
}

static nvmlReturn_t give_attributes(const char *function, nvmlDevice_t handle, nvmlDeviceAttributes_t *attributes) {
    struct call call;
    nvmlReturn_t answer = open_mig_asking(&call, function, handle, attributes);
    if (answer == NVML_SUCCESS)
        *attributes = (nvmlDeviceAttributes_t){
            .multiprocessorCount = (unsigned int)call.instance->multiprocessors,
            .sharedCopyEngineCount = (unsigned int)call.instance->gpu_slices,
            .gpuInstanceSliceCount = (unsigned int)call.instance->gpu_slices,
            .computeInstanceSliceCount = (unsigned int)call.instance->compute_slices,
            .memorySizeMB = (unsigned long long)call.instance->memory_bytes >> MIB_SHIFT,
        };
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetAttributes(nvmlDevice_t handle, nvmlDeviceAttributes_t *attributes) {
    return give_attributes(__func__, handle, attributes);
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t handle, nvmlDeviceAttributes_t *attributes) {
    return give_attributes(__func__, handle, attributes);
}
