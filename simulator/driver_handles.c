/* Handles: which devices, MIG devices and GPU instances a call can be about.
 *
 * The devices are those of the last init. MIG devices come and go below them, and a handle is good
 * for the one it was given out for: what was destroyed is NOT_FOUND, also when another has been
 * created under its ids. As the header warns, a handle is used again for whatever has its index
 * later, once somebody asks for that. */
#include "driver_client.h"

#include <string.h>

/* Anything but the address of a slot in use is no handle of ours. */
static struct slot *slot_around(const void *handle) {
    uintptr_t offset = (uintptr_t)handle - (uintptr_t)client.slots;
    return offset / sizeof(struct slot) < client.slot_count ? &client.slots[offset / sizeof(struct slot)] : NULL;
}

static const struct part *part_at(const struct part *parts, const void *handle) {
    uintptr_t offset = (uintptr_t)handle - (uintptr_t)parts;
    bool ours = offset % sizeof *parts == 0 && offset / sizeof *parts < MAX_INSTANCES;
    return ours && parts[offset / sizeof *parts].taken ? &parts[offset / sizeof *parts] : NULL;
}

static bool stands_for(const struct part *part, const struct instance *instance) {
    bool of_any = part->compute_instance < 0; /* a GPU instance is there while a compute instance of it is */
    return part->gpu_instance == instance->gpu_instance && part->generation == instance->generation &&
           (of_any || part->compute_instance == instance->compute_instance);
}

static const struct instance *instance_of(const struct device *device, const struct part *part) {
    for (size_t i = 0; device && part && device->mig == MIG_ENABLED && i < device->instance_count; i++)
        if (stands_for(part, &device->instances[i]))
            return &device->instances[i];
    return NULL;
}

void find_subject(struct call *call) {
    /* The one place that drops const: devices change in nothing but what follow has seen. */
    int index = call->slot ? call->slot->device : NO_DEVICE;
    call->device = index < 0 ? NULL : &client.scenario->devices[index];
    call->instance = instance_of(call->device, call->part);
}

static nvmlReturn_t admit_device(struct call *call, struct slot *slot, const struct part *part) {
    call->slot = slot;
    call->part = part;
    find_subject(call);
    nvmlReturn_t answer = admit(call);
    if (answer != NVML_SUCCESS)
        return answer;
    if (!slot)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (slot->lost)
        return NVML_ERROR_GPU_IS_LOST;
    return part && !call->instance ? NVML_ERROR_NOT_FOUND : NVML_SUCCESS;
}

nvmlReturn_t open_any_call(struct call *call, const char *function, nvmlDevice_t handle) {
    begin(call, function, false);
    struct slot *slot = slot_around(handle);
    bool whole = (void *)slot == (void *)handle;
    const struct part *part = slot && !whole ? part_at(slot->mig, handle) : NULL;
    return admit_device(call, whole || part ? slot : NULL, part);
}

nvmlReturn_t open_device_call(struct call *call, const char *function, nvmlDevice_t handle) {
    nvmlReturn_t answer = open_any_call(call, function, handle);
    return answer == NVML_SUCCESS && call->instance ? NVML_ERROR_NOT_SUPPORTED : answer;
}

nvmlReturn_t open_any_asking(struct call *call, const char *function, nvmlDevice_t handle, const void *into) {
    nvmlReturn_t answer = open_any_call(call, function, handle);
    return answer == NVML_SUCCESS && !into ? NVML_ERROR_INVALID_ARGUMENT : answer;
}

nvmlReturn_t open_asking(struct call *call, const char *function, nvmlDevice_t handle, const void *into) {
    nvmlReturn_t answer = open_device_call(call, function, handle);
    return answer == NVML_SUCCESS && !into ? NVML_ERROR_INVALID_ARGUMENT : answer;
}

/* Of one that is gone the header says: invalid. */
nvmlReturn_t open_gpu_instance_call(struct call *call, const char *function, nvmlGpuInstance_t handle) {
    begin(call, function, false);
    struct slot *slot = slot_around(handle);
    const struct part *part = slot ? part_at(slot->gpu_instances, handle) : NULL;
    nvmlReturn_t answer = admit_device(call, part ? slot : NULL, part);
    return answer == NVML_ERROR_NOT_FOUND ? NVML_ERROR_INVALID_ARGUMENT : answer;
}

nvmlReturn_t open_index_call(struct call *call, const char *function, unsigned int index) {
    begin(call, function, false);
    return admit_device(call, index < client.slot_count ? &client.slots[index] : NULL, NULL);
}

static struct slot *slot_with(bool (*same)(const struct device *, const char *), const char *wanted) {
    for (unsigned int i = 0; i < client.slot_count; i++)
        if (client.slots[i].device >= 0 && same(&client.scenario->devices[client.slots[i].device], wanted))
            return &client.slots[i];
    return NULL;
}

nvmlReturn_t open_match_call(struct call *call, const char *function,
                             bool (*same)(const struct device *, const char *), const char *wanted) {
    begin(call, function, false);
    struct slot *slot = wanted ? slot_with(same, wanted) : NULL;
    nvmlReturn_t answer = admit_device(call, slot, NULL);
    return answer == NVML_ERROR_INVALID_ARGUMENT && wanted ? NVML_ERROR_NOT_FOUND : answer;
}

/* ---- giving them out ---- */

nvmlDevice_t mig_handle(const struct call *call, const struct instance *instance) {
    struct part *part = &call->slot->mig[instance->index];
    *part = (struct part){true, instance->gpu_instance, instance->compute_instance, instance->generation};
    return (nvmlDevice_t)(void *)part;
}

nvmlGpuInstance_t gpu_instance_handle(const struct call *call, const struct instance *instance) {
    struct part *part = call->slot->gpu_instances;
    struct part *last = part + MAX_INSTANCES - 1;
    while (part < last && part->taken && part->gpu_instance != instance->gpu_instance)
        part++;
    *part = (struct part){true, instance->gpu_instance, -1, instance->generation};
    return (nvmlGpuInstance_t)(void *)part;
}

void take_snapshot(void) {
    client.epoch = client.scenario->driver.epoch;
    client.slot_count = (unsigned int)client.scenario->device_count;
    for (unsigned int i = 0; i < client.slot_count; i++) {
        const struct device *device = &client.scenario->devices[i];
        client.slots[i] = (struct slot){.generation = device->generation, .lost = device->lost, .device = (int)i};
        strcpy(client.slots[i].uuid, device->uuid);
    }
}

unsigned int slot_count(void) {
    return client.slot_count;
}

unsigned int slot_index(const struct slot *slot) {
    return (unsigned int)(slot - client.slots);
}
