/* What a scenario orders calls to suffer: first delays, then hangs, then errors. */
#include "driver.h"

#include <ctype.h>
#include <string.h>

static const int64_t HANG_STEP_NS = 20000000;

/* The length of a name without its _v2, _v3 ... */
static size_t bare_length(const char *name) {
    size_t length = strlen(name), end = length;
    while (end && isdigit((unsigned char)name[end - 1]))
        end--;
    bool versioned = end < length && end > 2 && name[end - 1] == 'v' && name[end - 2] == '_';
    return versioned ? end - 2 : length;
}

static bool names(const char *pattern, const char *function) {
    size_t length = strlen(pattern);
    if (length && pattern[length - 1] == '*')
        return !strncmp(pattern, function, length - 1);
    return !strcmp(pattern, function) || (length == bare_length(function) && !strncmp(pattern, function, length));
}

static bool strikes(const struct fault *fault, const struct call *call) {
    if (call->now_ns < fault->from_ns || call->now_ns >= fault->until_ns)
        return false;
    /* Compared by index, as the scenario may have been replaced since the handle was taken. */
    bool here = fault->device == ALL_DEVICES ||
                (call->device && call->device - call->scenario->devices == fault->device);
    bool within = fault->gpu_instance < 0 || (call->instance && call->instance->gpu_instance == fault->gpu_instance &&
                                              call->instance->compute_instance == fault->compute_instance);
    return here && within && names(fault->call, call->function);
}

static int64_t delay_of(const struct call *call) {
    int64_t longest_ns = 0;
    for (size_t i = 0; call->scenario && i < call->scenario->fault_count; i++) {
        const struct fault *fault = &call->scenario->faults[i];
        if (fault->delay_ns > longest_ns && strikes(fault, call))
            longest_ns = fault->delay_ns;
    }
    return longest_ns;
}

static bool hangs(const struct call *call) {
    for (size_t i = 0; call->scenario && i < call->scenario->fault_count; i++)
        if (call->scenario->faults[i].hang && strikes(&call->scenario->faults[i], call))
            return true;
    return false;
}

static nvmlReturn_t error_of(const struct call *call) {
    for (size_t i = 0; call->scenario && i < call->scenario->fault_count; i++)
        if (call->scenario->faults[i].error && strikes(&call->scenario->faults[i], call))
            return (nvmlReturn_t)call->scenario->faults[i].error;
    return NVML_SUCCESS;
}

nvmlReturn_t suffer(struct call *call) {
    if (!call->scenario || !call->scenario->fault_count)
        return NVML_SUCCESS;
    int64_t delay_ns = delay_of(call);
    if (delay_ns)
        pause_call(call, delay_ns);
    while (hangs(call))
        pause_call(call, HANG_STEP_NS);
    return error_of(call);
}
