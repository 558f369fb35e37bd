/* Calls that switch accounting on and off, for all programs. */
#include "driver_accounting.h"

#include <string.h>
#include <unistd.h>

static struct setting *find_setting(struct settings *settings, const char *uuid) {
    for (size_t i = 0; i < settings->count; i++)
        if (!strcmp(settings->rows[i].uuid, uuid))
            return &settings->rows[i];
    return NULL;
}

/* As the driver is when it is loaded; what came before it is unknown to it. */
static struct setting loaded_setting(const struct call *call) {
    struct setting setting = {
        .accounting = call->device->accounting,
        .epoch = call->scenario->driver.epoch,
        .since_ns = call->device->energy_origin_ns,
    };
    strcpy(setting.uuid, call->device->uuid);
    return setting;
}

struct setting setting_of(const struct call *call, struct settings *settings) {
    struct setting *found = find_setting(settings, call->device->uuid);
    return found && found->epoch == call->scenario->driver.epoch ? *found : loaded_setting(call);
}

static void keep_setting(struct settings *settings, struct setting setting) {
    struct setting *place = find_setting(settings, setting.uuid);
    if (!place && settings->count < MAX_DEVICES)
        place = &settings->rows[settings->count++];
    if (place)
        *place = setting;
}

static void set_mode(struct settings *settings, const struct call *call, int64_t mode) {
    struct setting setting = setting_of(call, settings);
    if (setting.accounting != mode)
        setting.since_ns = call->now_ns; /* all from before is forgotten */
    setting.accounting = mode;
    keep_setting(settings, setting);
}

static void clear_ended(struct settings *settings, const struct call *call, int64_t now_ns) {
    struct setting setting = setting_of(call, settings);
    setting.cleared_ns = now_ns;
    keep_setting(settings, setting);
}

bool can_account(const struct call *call) {
    return call->device->accounting != ACCOUNTING_UNSUPPORTED && call->device->mig != MIG_ENABLED;
}

/* With MIG it is disabled, and stays so. */
nvmlReturn_t nvmlDeviceGetAccountingMode(nvmlDevice_t handle, nvmlEnableState_t *mode) {
    struct call call;
    struct settings settings;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, mode);
    if (answer == NVML_SUCCESS && call.device->accounting == ACCOUNTING_UNSUPPORTED)
        answer = NVML_ERROR_NOT_SUPPORTED;
    if (answer == NVML_SUCCESS) {
        load_settings(&settings);
        bool on = can_account(&call) && setting_of(&call, &settings).accounting == ACCOUNTING_ENABLED;
        *mode = on ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
    }
    return close_call(answer);
}

/* Opens what only root may do to a device that can account. */
static nvmlReturn_t open_as_root(struct call *call, const char *function, nvmlDevice_t handle) {
    nvmlReturn_t answer = open_device_call(call, function, handle);
    if (answer == NVML_SUCCESS && !can_account(call))
        return NVML_ERROR_NOT_SUPPORTED;
    return answer == NVML_SUCCESS && geteuid() ? NVML_ERROR_NO_PERMISSION : answer;
}

nvmlReturn_t nvmlDeviceSetAccountingMode(nvmlDevice_t handle, nvmlEnableState_t mode) {
    struct call call;
    nvmlReturn_t answer = open_as_root(&call, __func__, handle);
    if (answer == NVML_SUCCESS && mode != NVML_FEATURE_ENABLED && mode != NVML_FEATURE_DISABLED)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS && !change_settings(set_mode, &call, mode == NVML_FEATURE_ENABLED))
        answer = NVML_ERROR_UNKNOWN;
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceClearAccountingPids(nvmlDevice_t handle) {
    struct call call;
    nvmlReturn_t answer = open_as_root(&call, __func__, handle);
    if (answer == NVML_SUCCESS && !change_settings(clear_ended, &call, call.now_ns))
        answer = NVML_ERROR_UNKNOWN;
    return close_call(answer);
}
