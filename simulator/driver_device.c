/* Calls about one device: who it is, and how it is. */
#include "driver.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- who it is ---- */

static nvmlReturn_t give_text(const char *function, nvmlDevice_t handle, size_t member, char *into,
                              unsigned int bytes) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, function, handle);
    const char *text = answer == NVML_SUCCESS ? (const char *)call.device + member : "";
    if (answer == NVML_SUCCESS && !into)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS && !*text)
        answer = NVML_ERROR_NOT_SUPPORTED; /* boards without a serial number say so */
    if (answer == NVML_SUCCESS && strlen(text) >= bytes)
        answer = NVML_ERROR_INSUFFICIENT_SIZE;
    if (answer == NVML_SUCCESS)
        strcpy(into, text);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *uuid, unsigned int bytes) {
    return give_text(__func__, handle, offsetof(struct device, uuid), uuid, bytes);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *name, unsigned int bytes) {
    return give_text(__func__, handle, offsetof(struct device, name), name, bytes);
}

nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t handle, char *serial, unsigned int bytes) {
    return give_text(__func__, handle, offsetof(struct device, serial), serial, bytes);
}

/* Opens, and refuses a missing out-parameter. */
static nvmlReturn_t open_asking(struct call *call, const char *function, nvmlDevice_t handle, const void *into) {
    nvmlReturn_t answer = open_device_call(call, function, handle);
    return answer == NVML_SUCCESS && !into ? NVML_ERROR_INVALID_ARGUMENT : answer;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned int *index) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, index);
    if (answer == NVML_SUCCESS)
        *index = slot_index(call.slot);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t handle, unsigned int *minor) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, minor);
    if (answer == NVML_SUCCESS)
        *minor = (unsigned int)call.device->minor;
    return close_call(answer);
}

static void fill_pci(const struct device *device, nvmlPciInfo_t *pci) {
    memset(pci, 0, sizeof *pci);
    sscanf(device->bus, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus & 0xff, pci->device & 0xff);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    pci->pciDeviceId = 0x233010de; /* vendor 10de; the device id of an H100 SXM */
}

static nvmlReturn_t give_pci(const char *function, nvmlDevice_t handle, nvmlPciInfo_t *pci) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, function, handle, pci);
    if (answer == NVML_SUCCESS)
        fill_pci(call.device, pci);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t handle, nvmlPciInfo_t *pci) {
    return give_pci(__func__, handle, pci);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t handle, nvmlPciInfo_t *pci) {
    return give_pci(__func__, handle, pci);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t handle, nvmlPciInfo_t *pci) {
    return give_pci(__func__, handle, pci);
}

/* ---- how it is ---- */

/* Not available while the device is cut into MIG instances. */
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *rates) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, rates);
    if (answer == NVML_SUCCESS && call.device->mig == MIG_ENABLED)
        answer = NVML_ERROR_NOT_SUPPORTED;
    if (answer == NVML_SUCCESS) {
        rates->gpu = (unsigned int)value_at(&call.device->utilization, call.now_ns);
        rates->memory = (unsigned int)value_at(&call.device->memory_utilization, call.now_ns);
    }
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t handle, unsigned int *power_mw) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, power_mw);
    if (answer == NVML_SUCCESS)
        *power_mw = (unsigned int)value_at(&call.device->power_mw, call.now_ns);
    return close_call(answer);
}

/* Milliwatts over nanoseconds are picojoules: a thousand million of them to the millijoule. */
static unsigned long long energy_mj(const struct device *device, int64_t now_ns) {
    if (now_ns <= device->energy_origin_ns)
        return 0;
    __int128 picojoules =
        integral_until(&device->power_mw, now_ns) - integral_until(&device->power_mw, device->energy_origin_ns);
    return (unsigned long long)(picojoules / 1000000000);
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t handle, unsigned long long *millijoules) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, millijoules);
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
        return true;
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
    nvmlReturn_t answer = open_asking(&call, __func__, handle, fields);
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

static unsigned long long free_bytes(struct device *device, int64_t now_ns) {
    int64_t left = device->memory_bytes - device->reserved_bytes - used_bytes(device, now_ns);
    return left > 0 ? (unsigned long long)left : 0;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, memory);
    if (answer == NVML_SUCCESS) {
        memory->total = (unsigned long long)call.device->memory_bytes;
        memory->free = free_bytes(call.device, call.now_ns);
        memory->used = memory->total - memory->free;
    }
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *memory) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, memory);
    if (answer == NVML_SUCCESS && memory->version != nvmlMemory_v2)
        answer = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (answer == NVML_SUCCESS) {
        memory->total = (unsigned long long)call.device->memory_bytes;
        memory->reserved = (unsigned long long)call.device->reserved_bytes;
        memory->free = free_bytes(call.device, call.now_ns);
        memory->used = memory->total - memory->reserved - memory->free;
    }
    return close_call(answer);
}

/* ---- modes ---- */

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

static nvmlReturn_t give_constant(const char *function, nvmlDevice_t handle, void *into, int constant) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, function, handle, into);
    if (answer == NVML_SUCCESS)
        *(int *)into = constant; /* the header's enumerations are ints */
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetAccountingMode(nvmlDevice_t handle, nvmlEnableState_t *mode) {
    return give_constant(__func__, handle, mode, NVML_FEATURE_DISABLED);
}

nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t handle, nvmlEnableState_t *mode) {
    return give_constant(__func__, handle, mode, NVML_FEATURE_ENABLED);
}

nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t handle, nvmlComputeMode_t *mode) {
    return give_constant(__func__, handle, mode, NVML_COMPUTEMODE_DEFAULT);
}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t handle, unsigned int *is_mig) {
    return give_constant(__func__, handle, is_mig, 0);
}
