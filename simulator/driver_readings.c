/* Calls about one device: how it is. */
#include "driver.h"

#include <time.h>

/* Not available while the device is cut into MIG instances. */
bool has_utilization(const struct device *device) {
    return !device->utilization_unsupported && device->mig != MIG_ENABLED;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *rates) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, rates);
    if (answer == NVML_SUCCESS && !has_utilization(call.device))
        answer = NVML_ERROR_NOT_SUPPORTED;
    if (answer == NVML_SUCCESS) {
        bool wild = call.device->quirks & QUIRK_WILD_UTILIZATION;
        rates->gpu = wild ? WILD_PERCENT : (unsigned int)value_at(&call.device->utilization, call.now_ns);
        rates->memory = (unsigned int)value_at(&call.device->memory_utilization, call.now_ns);
    }
    return close_call(answer);
}

/* Power is the whole board's. Some drivers repeat it for each MIG device, the others refuse. */
static nvmlReturn_t open_board_asking(struct call *call, const char *function, nvmlDevice_t handle, const void *into) {
    nvmlReturn_t answer = open_any_asking(call, function, handle, into);
    bool refuses = answer == NVML_SUCCESS && call->instance && !(call->device->quirks & QUIRK_MIG_ENERGY);
    return refuses ? NVML_ERROR_NOT_SUPPORTED : answer;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t handle, unsigned int *power_mw) {
    struct call call;
    nvmlReturn_t answer = open_board_asking(&call, __func__, handle, power_mw);
    if (answer == NVML_SUCCESS)
        *power_mw = (unsigned int)value_at(&call.device->power_mw, call.now_ns);
    return close_call(answer);
}

/* Milliwatts over nanoseconds are picojoules: a thousand million of them to the millijoule. It counts
 * from the driver's load, or from where it was set to something else since. */
static unsigned long long energy_mj(const struct device *device, int64_t now_ns) {
    const struct step *step = step_at(&device->energy_steps_mj, now_ns);
    bool is_set = step && step->at_ns >= device->energy_origin_ns;
    int64_t from_ns = is_set ? step->at_ns : device->energy_origin_ns;
    int64_t base_mj = is_set ? step->value : device->energy_steps_mj.always;
    if (now_ns <= from_ns)
        return (unsigned long long)base_mj;
    __int128 picojoules = integral_until(&device->power_mw, now_ns) - integral_until(&device->power_mw, from_ns);
    return (unsigned long long)(base_mj + picojoules / 1000000000);
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t handle, unsigned long long *millijoules) {
    struct call call;
    nvmlReturn_t answer = open_board_asking(&call, __func__, handle, millijoules);
    if (answer == NVML_SUCCESS && !call.device->energy)
        answer = NVML_ERROR_NOT_SUPPORTED;
    if (answer == NVML_SUCCESS)
        *millijoules = energy_mj(call.device, call.now_ns);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t handle, nvmlTemperatureSensors_t sensor, unsigned int *celsius) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, celsius);
    if (answer == NVML_SUCCESS && sensor != NVML_TEMPERATURE_GPU)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        *celsius = (unsigned int)value_at(&call.device->temperature_c, call.now_ns);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t handle, nvmlTemperature_t *temperature) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, temperature);
    if (answer == NVML_SUCCESS && temperature->version != nvmlTemperature_v1)
        answer = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (answer == NVML_SUCCESS)
        temperature->temperature = (int)value_at(&call.device->temperature_c, call.now_ns);
    return close_call(answer);
}

/* ---- fields: many values in one call, each with an answer of its own ---- */

static bool read_field(const struct device *device, int64_t now_ns, nvmlFieldValue_t *field) {
    field->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
    switch (field->fieldId) {
    case NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION:
    case NVML_FI_DEV_ENERGY:
        field->value.ullVal = energy_mj(device, now_ns);
        return device->energy;
    case NVML_FI_DEV_POWER_AVERAGE:
    case NVML_FI_DEV_POWER_INSTANT:
        field->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        field->value.uiVal = (unsigned int)value_at(&device->power_mw, now_ns);
        return true;
    default:
        return false;
    }
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t handle, int count, nvmlFieldValue_t *fields) {
    struct call call;
    nvmlReturn_t answer = open_board_asking(&call, __func__, handle, fields);
    if (answer == NVML_SUCCESS && count <= 0)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; answer == NVML_SUCCESS && i < count; i++) {
        bool known = read_field(call.device, call.now_ns, &fields[i]);
        fields[i].nvmlReturn = known ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
        fields[i].timestamp = clock_ns(CLOCK_REALTIME) / 1000;
        fields[i].latencyUsec = 0;
    }
    return close_call(answer);
}

/* ---- memory: the first version counts what the driver reserves as used, the second does not ---- */

static nvmlMemory_v2_t memory_of(const struct call *call) {
    int64_t total = call->instance ? call->instance->memory_bytes : call->device->memory_bytes;
    int64_t reserved = call->instance ? 0 : call->device->reserved_bytes;
    int64_t left = total - reserved - used_bytes(call->device, call->instance, call->now_ns);
    return (nvmlMemory_v2_t){
        .version = nvmlMemory_v2,
        .total = (unsigned long long)total,
        .reserved = (unsigned long long)reserved,
        .free = (unsigned long long)(left > 0 ? left : 0),
        .used = (unsigned long long)(total - reserved - (left > 0 ? left : 0)),
    };
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory) {
    struct call call;
    nvmlReturn_t answer = open_any_asking(&call, __func__, handle, memory);
    if (answer == NVML_SUCCESS) {
        nvmlMemory_v2_t known = memory_of(&call);
        *memory = (nvmlMemory_t){.total = known.total, .free = known.free, .used = known.total - known.free};
    }
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *memory) {
    struct call call;
    nvmlReturn_t answer = open_any_asking(&call, __func__, handle, memory);
    if (answer == NVML_SUCCESS && memory->version != nvmlMemory_v2)
        answer = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (answer == NVML_SUCCESS)
        *memory = memory_of(&call);
    return close_call(answer);
}
