/* Calls about the host: init and shutdown, versions, which devices there are. */
#include "driver.h"

#include <stdio.h>
#include <string.h>

nvmlReturn_t nvmlInit(void) {
    return initialise(__func__);
}

nvmlReturn_t nvmlInit_v2(void) {
    return initialise(__func__);
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags; /* no devices, no attaching: the same to a host that is made of text */
    return initialise(__func__);
}

nvmlReturn_t nvmlShutdown(void) {
    return shut_down(__func__);
}

const char *nvmlErrorString(nvmlReturn_t result) {
    for (size_t i = 0; i < ERROR_TEXT_COUNT; i++)
        if (ERROR_TEXTS[i].code == result)
            return ERROR_TEXTS[i].words;
    return "Unknown Error";
}

static nvmlReturn_t give_text(const char *text, char *into, unsigned int bytes) {
    if (!into)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= bytes)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(into, text);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, __func__);
    if (answer == NVML_SUCCESS)
        answer = give_text(call.scenario->driver.version, version, length);
    return close_call(answer);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, __func__);
    if (answer == NVML_SUCCESS)
        answer = give_text(call.scenario->driver.nvml, version, length);
    return close_call(answer);
}

static nvmlReturn_t give_cuda_version(const char *function, int *version) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, function);
    if (answer == NVML_SUCCESS && !version)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        *version = (int)call.scenario->driver.cuda;
    return close_call(answer);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    return give_cuda_version(__func__, version);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    return give_cuda_version(__func__, version);
}

/* ---- devices; a lost one is still counted ---- */

static nvmlReturn_t give_count(const char *function, unsigned int *count) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, function);
    if (answer == NVML_SUCCESS && !count)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        *count = slot_count();
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetCount(unsigned int *count) {
    return give_count(__func__, count);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    return give_count(__func__, count);
}

static nvmlReturn_t close_with_handle(nvmlReturn_t answer, const struct call *call, nvmlDevice_t *handle) {
    if (answer == NVML_SUCCESS && !handle)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        *handle = (nvmlDevice_t)(void *)call->slot;
    return close_call(answer);
}

static nvmlReturn_t give_indexed(const char *function, unsigned int index, nvmlDevice_t *handle) {
    struct call call;
    nvmlReturn_t answer = open_index_call(&call, function, index);
    return close_with_handle(answer, &call, handle);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *handle) {
    return give_indexed(__func__, index, handle);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *handle) {
    return give_indexed(__func__, index, handle);
}

static const struct instance *instance_with(const struct device *device, const char *uuid) {
    for (size_t i = 0; i < device->instance_count; i++)
        if (!strcmp(device->instances[i].uuid, uuid))
            return &device->instances[i];
    return NULL;
}

static bool same_uuid(const struct device *device, const char *uuid) {
    return !strcmp(device->uuid, uuid) || instance_with(device, uuid);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *handle) {
    struct call call;
    nvmlReturn_t answer = open_match_call(&call, __func__, same_uuid, uuid);
    const struct instance *instance = answer == NVML_SUCCESS ? instance_with(call.device, uuid) : NULL;
    if (!instance || !handle)
        return close_with_handle(answer, &call, handle);
    *handle = mig_handle(&call, instance);
    return close_call(NVML_SUCCESS);
}

static bool same_serial(const struct device *device, const char *serial) {
    return *serial && !strcmp(device->serial, serial);
}

nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *handle) {
    struct call call;
    nvmlReturn_t answer = open_match_call(&call, __func__, same_serial, serial);
    return close_with_handle(answer, &call, handle);
}

/* Domains are written with four digits or with eight. */
static bool same_bus(const struct device *device, const char *bus) {
    unsigned int a[4], b[4];
    return sscanf(device->bus, "%x:%x:%x.%x", &a[0], &a[1], &a[2], &a[3]) == 4 &&
           sscanf(bus, "%x:%x:%x.%x", &b[0], &b[1], &b[2], &b[3]) == 4 && !memcmp(a, b, sizeof a);
}

static nvmlReturn_t give_on_bus(const char *function, const char *bus, nvmlDevice_t *handle) {
    struct call call;
    nvmlReturn_t answer = open_match_call(&call, function, same_bus, bus);
    return close_with_handle(answer, &call, handle);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *bus, nvmlDevice_t *handle) {
    return give_on_bus(__func__, bus, handle);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus, nvmlDevice_t *handle) {
    return give_on_bus(__func__, bus, handle);
}

/* ---- the rest of the header ---- */

nvmlReturn_t unsimulated(const char *function) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, function);
    return close_call(answer == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : answer);
}

nvmlReturn_t unsimulated_device(const char *function, nvmlDevice_t handle) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, function, handle);
    return close_call(answer == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : answer);
}
