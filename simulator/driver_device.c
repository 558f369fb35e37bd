/* Calls about one device: who it is, and its modes. */
#include "driver.h"

#include <stdio.h>
#include <string.h>

/* ---- who it is ---- */

static nvmlReturn_t give_text(const char *text, char *into, unsigned int bytes) {
    if (!into)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!*text)
        return NVML_ERROR_NOT_SUPPORTED; /* boards without a serial number say so */
    if (strlen(text) >= bytes)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(into, text);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *uuid, unsigned int bytes) {
    struct call call;
    nvmlReturn_t answer = open_any_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS)
        answer = give_text(call.instance ? call.instance->uuid : call.device->uuid, uuid, bytes);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *name, unsigned int bytes) {
    struct call call;
    nvmlReturn_t answer = open_any_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS)
        answer = give_text(call.instance ? call.instance->name : call.device->name, name, bytes);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t handle, char *serial, unsigned int bytes) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS)
        answer = give_text(call.device->serial, serial, bytes);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned int *index) {
    struct call call;
    nvmlReturn_t answer = open_any_asking(&call, __func__, handle, index);
    if (answer == NVML_SUCCESS) /* MIG devices are counted on each GPU */
        *index = call.instance ? (unsigned int)call.instance->index : slot_index(call.slot);
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

/* ---- modes ---- */

static nvmlReturn_t give_constant(const char *function, nvmlDevice_t handle, void *into, int constant) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, function, handle, into);
    if (answer == NVML_SUCCESS)
        *(int *)into = constant; /* the header's enumerations are ints */
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t handle, nvmlEnableState_t *mode) {
    return give_constant(__func__, handle, mode, NVML_FEATURE_ENABLED);
}

nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t handle, nvmlComputeMode_t *mode) {
    return give_constant(__func__, handle, mode, NVML_COMPUTEMODE_DEFAULT);
}
