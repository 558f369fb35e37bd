/* The lines about MIG instances. What such a line leaves out follows from the device it is on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver_lines.h"

enum { UNSAID = -1 };

struct instance_line {
    text device;
    struct instance instance;
};
#define INSTANCE(member) offsetof(struct instance_line, instance.member)
static const struct field INSTANCE_FIELDS[] = {
    {"device", read_text, offsetof(struct instance_line, device)},
    {"uuid", read_text, INSTANCE(uuid)},
    {"name", read_text, INSTANCE(name)},
    {"gpu_instance", read_int, INSTANCE(gpu_instance)},
    {"compute_instance", read_int, INSTANCE(compute_instance)},
    {"index", read_int, INSTANCE(index)},
    {"compute_slices", read_int, INSTANCE(compute_slices)},
    {"gpu_slices", read_int, INSTANCE(gpu_slices)},
    {"memory_slices", read_int, INSTANCE(memory_slices)},
    {"placement", read_int, INSTANCE(placement)},
    {"memory", read_int, INSTANCE(memory_bytes)},
    {"multiprocessors", read_int, INSTANCE(multiprocessors)},
    {"utilization", read_schedule, INSTANCE(utilization)},
    {"sm_utilization", read_schedule, INSTANCE(sm_utilization)},
    {"generation", read_int, INSTANCE(generation)},
    {NULL, NULL, 0}};

static bool is_index_free(const struct device *device, int64_t index) {
    for (size_t i = 0; i < device->instance_count; i++)
        if (device->instances[i].index == index)
            return false;
    return true;
}

static int64_t first_free_index(const struct device *device) {
    int64_t index = 0;
    while (!is_index_free(device, index))
        index++;
    return index;
}

/* Beside its siblings in one GPU instance, else behind all others. */
static int64_t next_placement(const struct device *device, int64_t gpu_instance) {
    int64_t start = 0;
    for (size_t i = 0; i < device->instance_count; i++) {
        const struct instance *other = &device->instances[i];
        if (other->gpu_instance == gpu_instance)
            return other->placement;
        if (other->placement + other->memory_slices > start)
            start = other->placement + other->memory_slices;
    }
    return start;
}

static void say_unsaid(const struct device *device, struct instance *instance) {
    int64_t *gpu_slices = &instance->gpu_slices;
    if (!*instance->uuid) /* in the form of the drivers before 470 */
        snprintf(instance->uuid, TEXT_BYTES, "MIG-%.70s/%d/%d", device->uuid, (int)instance->gpu_instance,
                 (int)instance->compute_instance);
    if (!*instance->name)
        snprintf(instance->name, TEXT_BYTES, "%.60s MIG %dg", device->name, (int)instance->compute_slices);
    *gpu_slices = *gpu_slices == UNSAID ? instance->compute_slices : *gpu_slices;
    if (instance->index == UNSAID)
        instance->index = first_free_index(device);
    if (instance->placement == UNSAID)
        instance->placement = next_placement(device, instance->gpu_instance);
    if (instance->memory_bytes == UNSAID)
        instance->memory_bytes = device->memory_bytes * instance->memory_slices / device->mig_memory_slices;
    if (instance->multiprocessors == UNSAID)
        instance->multiprocessors = device->multiprocessors * instance->compute_slices / device->mig_compute_slices;
}

static const char *check_instance(const struct device *device, const struct instance *instance) {
    if (device->mig != MIG_ENABLED)
        return "wants a device with mig=enabled";
    bool whole = is_slices(instance->compute_slices) && is_slices(instance->memory_slices);
    if (!whole || (instance->gpu_slices != UNSAID && !is_slices(instance->gpu_slices)))
        return "wants 1 to 16 slices of each kind";
    if (instance->index != UNSAID && !is_index_free(device, instance->index))
        return "wants an index that no other has";
    if (instance->index >= device->mig_compute_slices || (int64_t)device->instance_count >= device->mig_compute_slices)
        return "is more than the device has compute slices for";
    for (size_t i = 0; i < device->instance_count; i++)
        if (device->instances[i].gpu_instance == instance->gpu_instance &&
            device->instances[i].compute_instance == instance->compute_instance)
            return "wants ids that no other has";
    return NULL;
}

static const char *keep_instance(struct scenario *scenario, struct instance_line *row) {
    int64_t index = find_device(scenario, row->device);
    if (index == NO_DEVICE)
        return "wants the device of an earlier line, by index or uuid";
    if (row->instance.gpu_instance == UNSAID)
        return "wants a gpu_instance";
    struct device *device = &scenario->devices[index];
    const char *wrong = check_instance(device, &row->instance);
    if (wrong)
        return wrong;
    say_unsaid(device, &row->instance);
    struct instance *kept = add_row((void **)&device->instances, &device->instance_count, sizeof *kept);
    if (!kept)
        return "is too much: no memory for it";
    *kept = row->instance;
    return NULL;
}

const char *read_instance_line(struct scenario *scenario, char *line, const char **culprit) {
    struct instance_line row = {.instance = {.gpu_instance = UNSAID, .index = UNSAID, .compute_slices = 1,
                                             .gpu_slices = UNSAID, .memory_slices = 1, .placement = UNSAID,
                                             .memory_bytes = UNSAID, .multiprocessors = UNSAID}};
    const char *wrong = read_words(INSTANCE_FIELDS, line, &row, culprit);
    wrong = wrong ? wrong : keep_instance(scenario, &row);
    if (wrong) {
        free(row.instance.utilization.steps);
        free(row.instance.sm_utilization.steps);
    }
    return wrong;
}

int64_t find_place(const struct scenario *scenario, const char *wanted, int64_t *gpu_instance,
                   int64_t *compute_instance) {
    for (size_t i = 0; i < scenario->device_count; i++)
        for (size_t j = 0; j < scenario->devices[i].instance_count; j++) {
            const struct instance *instance = &scenario->devices[i].instances[j];
            if (strcmp(instance->uuid, wanted))
                continue;
            *gpu_instance = instance->gpu_instance;
            *compute_instance = instance->compute_instance;
            return (int64_t)i;
        }
    return find_device(scenario, wanted);
}
