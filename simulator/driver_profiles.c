/* Calls about what a device can be cut into (profiles), and into what it has been (GPU instances).
 *
 * This is where the denominators come from: the profile of the whole device tells how many compute
 * slices it has, and the size of its placement how many memory slices. The size of a GPU instance's
 * own placement is the numerator of the latter. */
#include "driver.h"

#include <stdio.h>
#include <unistd.h>

enum { MIB_SHIFT = 20 };

/* Of Ampere and Hopper boards: the number of slices, and the id that the board gives the profile. */
static const struct profile {
    unsigned int profile, id;
    int64_t slices;
} PROFILES[] = {
    {NVML_GPU_INSTANCE_PROFILE_1_SLICE, 19, 1}, {NVML_GPU_INSTANCE_PROFILE_2_SLICE, 14, 2},
    {NVML_GPU_INSTANCE_PROFILE_3_SLICE, 9, 3},  {NVML_GPU_INSTANCE_PROFILE_4_SLICE, 5, 4},
    {NVML_GPU_INSTANCE_PROFILE_6_SLICE, 0, 6},  {NVML_GPU_INSTANCE_PROFILE_7_SLICE, 0, 7},
    {NVML_GPU_INSTANCE_PROFILE_8_SLICE, 0, 8},
};
enum { PROFILE_COUNT = sizeof PROFILES / sizeof *PROFILES };

/* The whole device, or half of it and less; 3 of 4 slices and such are no profile. */
static bool is_offered(const struct device *device, const struct profile *profile) {
    return profile->slices == device->mig_compute_slices ||
           (profile->slices <= 4 && profile->slices * 2 <= device->mig_compute_slices + 1);
}

static unsigned int id_on(const struct device *device, const struct profile *profile) {
    return profile->slices == device->mig_compute_slices ? 0 : profile->id;
}

/* The power of two next to the same part of the memory as of the compute slices: 1, 2, 4, 4, 8 of 8. */
static int64_t memory_slices(const struct device *device, const struct profile *profile) {
    int64_t slices = device->mig_memory_slices;
    if (profile->slices == device->mig_compute_slices)
        return slices;
    while (slices > 1 && slices * 3 * device->mig_compute_slices > profile->slices * 4 * device->mig_memory_slices)
        slices /= 2;
    return slices;
}

static nvmlGpuInstanceProfileInfo_v3_t info_of(const struct device *device, const struct profile *profile) {
    int64_t memory = memory_slices(device, profile);
    nvmlGpuInstanceProfileInfo_v3_t info = {
        .id = id_on(device, profile),
        .sliceCount = (unsigned int)profile->slices,
        .instanceCount = (unsigned int)(device->mig_compute_slices / profile->slices),
        .multiprocessorCount = (unsigned int)(device->multiprocessors * profile->slices / device->mig_compute_slices),
        .memorySizeMB =
            (unsigned long long)(device->memory_bytes * memory / device->mig_memory_slices) >> MIB_SHIFT,
    };
    snprintf(info.name, sizeof info.name, "MIG %dg.%dgb", (int)profile->slices,
             (int)((info.memorySizeMB + 1000) / 1000));
    return info;
}

static const struct profile *find_profile(const struct device *device, unsigned int wanted, bool by_id) {
    for (size_t i = 0; i < PROFILE_COUNT; i++)
        if (is_offered(device, &PROFILES[i]) &&
            (by_id ? id_on(device, &PROFILES[i]) : PROFILES[i].profile) == wanted)
            return &PROFILES[i];
    return NULL;
}

/* ---- profiles ---- */

static nvmlReturn_t check_profile(const struct call *call, unsigned int wanted, bool by_id) {
    if (call->device->mig == MIG_UNSUPPORTED)
        return NVML_ERROR_NOT_SUPPORTED;
    if (!by_id && wanted >= NVML_GPU_INSTANCE_PROFILE_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    return find_profile(call->device, wanted, by_id) ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfo(nvmlDevice_t handle, unsigned int wanted,
                                                 nvmlGpuInstanceProfileInfo_t *info) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, info);
    if (answer == NVML_SUCCESS)
        answer = check_profile(&call, wanted, false);
    if (answer == NVML_SUCCESS) {
        nvmlGpuInstanceProfileInfo_v3_t known = info_of(call.device, find_profile(call.device, wanted, false));
        *info = (nvmlGpuInstanceProfileInfo_t){
            .id = known.id, .sliceCount = known.sliceCount, .instanceCount = known.instanceCount,
            .multiprocessorCount = known.multiprocessorCount, .memorySizeMB = known.memorySizeMB,
        };
    }
    return close_call(answer);
}

/* Version 2 and 3 have their own places for what both have. */
static nvmlReturn_t fill_version(nvmlGpuInstanceProfileInfo_v2_t *info, nvmlGpuInstanceProfileInfo_v3_t known) {
    if (info->version == nvmlGpuInstanceProfileInfo_v3) {
        known.version = info->version;
        *(nvmlGpuInstanceProfileInfo_v3_t *)(void *)info = known;
        return NVML_SUCCESS;
    }
    if (info->version != nvmlGpuInstanceProfileInfo_v2)
        return NVML_ERROR_INVALID_ARGUMENT;
    *info = (nvmlGpuInstanceProfileInfo_v2_t){
        .version = info->version, .id = known.id, .sliceCount = known.sliceCount,
        .instanceCount = known.instanceCount, .multiprocessorCount = known.multiprocessorCount,
        .memorySizeMB = known.memorySizeMB,
    };
    snprintf(info->name, sizeof info->name, "%s", known.name);
    return NVML_SUCCESS;
}

static nvmlReturn_t give_profile(const char *function, nvmlDevice_t handle, unsigned int wanted, bool by_id,
                                 nvmlGpuInstanceProfileInfo_v2_t *info) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, function, handle, info);
    if (answer == NVML_SUCCESS && call.device->mig != MIG_ENABLED) /* unlike the unversioned call, says the header */
        answer = NVML_ERROR_NOT_SUPPORTED;
    if (answer == NVML_SUCCESS)
        answer = check_profile(&call, wanted, by_id);
    if (answer == NVML_SUCCESS)
        answer = fill_version(info, info_of(call.device, find_profile(call.device, wanted, by_id)));
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoV(nvmlDevice_t handle, unsigned int profile,
                                                  nvmlGpuInstanceProfileInfo_v2_t *info) {
    return give_profile(__func__, handle, profile, false, info);
}

nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoByIdV(nvmlDevice_t handle, unsigned int id,
                                                      nvmlGpuInstanceProfileInfo_v2_t *info) {
    return give_profile(__func__, handle, id, true, info);
}

/* ---- placements, which only root may see ---- */

static unsigned int list_placements(const struct device *device, const struct profile *profile,
                                    nvmlGpuInstancePlacement_t *placements) {
    unsigned int size = (unsigned int)memory_slices(device, profile);
    unsigned int count = info_of(device, profile).instanceCount;
    for (unsigned int i = 0; placements && i < count; i++)
        placements[i] = (nvmlGpuInstancePlacement_t){i * size, size};
    return count;
}

static nvmlReturn_t give_placements(const char *function, nvmlDevice_t handle, unsigned int id,
                                    nvmlGpuInstancePlacement_t *placements, unsigned int *count) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, function, handle, count);
    if (answer == NVML_SUCCESS && geteuid())
        answer = NVML_ERROR_NO_PERMISSION;
    if (answer == NVML_SUCCESS)
        answer = check_profile(&call, id, true);
    if (answer == NVML_SUCCESS)
        *count = list_placements(call.device, find_profile(call.device, id, true), placements);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements(nvmlDevice_t handle, unsigned int id,
                                                        nvmlGpuInstancePlacement_t *placements, unsigned int *count) {
    return give_placements(__func__, handle, id, placements, count);
}

nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements_v2(nvmlDevice_t handle, unsigned int id,
                                                           nvmlGpuInstancePlacement_t *placements,
                                                           unsigned int *count) {
    return give_placements(__func__, handle, id, placements, count);
}

/* ---- GPU instances ---- */

static const struct instance *first_of(const struct device *device, unsigned int gpu_instance) {
    for (size_t i = 0; i < device->instance_count; i++)
        if (device->instances[i].gpu_instance == (int64_t)gpu_instance)
            return &device->instances[i];
    return NULL;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceById(nvmlDevice_t handle, unsigned int id, nvmlGpuInstance_t *gpu_instance) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, gpu_instance);
    if (answer == NVML_SUCCESS && geteuid())
        answer = NVML_ERROR_NO_PERMISSION;
    if (answer == NVML_SUCCESS && call.device->mig != MIG_ENABLED)
        answer = NVML_ERROR_NOT_SUPPORTED;
    const struct instance *instance = answer == NVML_SUCCESS ? first_of(call.device, id) : NULL;
    if (answer == NVML_SUCCESS && !instance)
        answer = NVML_ERROR_NOT_FOUND;
    if (answer == NVML_SUCCESS)
        *gpu_instance = gpu_instance_handle(&call, instance);
    return close_call(answer);
}

static unsigned int profile_id_of(const struct device *device, const struct instance *instance) {
    for (size_t i = 0; i < PROFILE_COUNT; i++)
        if (is_offered(device, &PROFILES[i]) && PROFILES[i].slices == instance->gpu_slices)
            return id_on(device, &PROFILES[i]);
    return PROFILES[0].id;
}

nvmlReturn_t nvmlGpuInstanceGetInfo(nvmlGpuInstance_t handle, nvmlGpuInstanceInfo_t *info) {
    struct call call;
    nvmlReturn_t answer = open_gpu_instance_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS && !info)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        *info = (nvmlGpuInstanceInfo_t){
            .device = (nvmlDevice_t)(void *)call.slot,
            .id = (unsigned int)call.instance->gpu_instance,
            .profileId = profile_id_of(call.device, call.instance),
            .placement = {(unsigned int)call.instance->placement, (unsigned int)call.instance->memory_slices},
        };
    return close_call(answer);
}
