/* Calls that wait for Xid events.
 *
 * An event set is told each xid line once that lies after its registration for that device and not
 * in the future. What a set was told it remembers by device, time and code, so that a replaced
 * scenario tells nothing twice. */
#include "driver.h"

#include <string.h>

enum { MAX_SETS = 64, MAX_TOLD = 1024 };

static const int64_t STEP_NS = 2000000, MS_NS = 1000000;
static const unsigned long long SUPPORTED =
    nvmlEventTypeXidCriticalError | nvmlEventTypeSingleBitEccError | nvmlEventTypeDoubleBitEccError;

struct told {
    const struct slot *slot;
    int64_t at_ns, code;
};

struct registration {
    struct slot *slot;
    int64_t since_ns;
    unsigned long long types;
};

struct nvmlEventSet_st {
    bool taken;
    struct registration registrations[MAX_DEVICES];
    size_t registration_count;
    struct told told[MAX_TOLD]; /* a ring */
    size_t told_count;
};
static struct nvmlEventSet_st sets[MAX_SETS]; /* behind the lock that calls hold */

static struct nvmlEventSet_st *set_at(nvmlEventSet_t set) {
    uintptr_t offset = (uintptr_t)set - (uintptr_t)sets;
    bool ours = offset % sizeof *sets == 0 && offset / sizeof *sets < MAX_SETS;
    return ours && set->taken ? set : NULL;
}

void forget_event_sets(void) {
    for (size_t i = 0; i < MAX_SETS; i++)
        sets[i].taken = false;
}

/* ---- sets ---- */

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, __func__);
    size_t free = 0;
    while (free < MAX_SETS && sets[free].taken)
        free++;
    if (answer == NVML_SUCCESS && !set)
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS && free == MAX_SETS)
        answer = NVML_ERROR_MEMORY;
    if (answer == NVML_SUCCESS) {
        sets[free].taken = true;
        sets[free].registration_count = sets[free].told_count = 0;
        *set = &sets[free];
    }
    return close_call(answer);
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, __func__);
    if (answer == NVML_SUCCESS && !set_at(set))
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS)
        set->taken = false;
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t handle, unsigned long long *types) {
    struct call call;
    nvmlReturn_t answer = open_asking(&call, __func__, handle, types);
    if (answer == NVML_SUCCESS)
        *types = SUPPORTED;
    return close_call(answer);
}

/* More types for a device that is registered do not change since when it is. */
static void enroll(struct nvmlEventSet_st *set, const struct call *call, unsigned long long types) {
    for (size_t i = 0; i < set->registration_count; i++)
        if (set->registrations[i].slot == call->slot) {
            set->registrations[i].types |= types;
            return;
        }
    set->registrations[set->registration_count++] = (struct registration){call->slot, call->now_ns, types};
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t handle, unsigned long long types, nvmlEventSet_t set) {
    struct call call;
    nvmlReturn_t answer = open_device_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS && (!set_at(set) || !types || types & ~(unsigned long long)nvmlEventTypeAll))
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS && types & ~SUPPORTED)
        answer = NVML_ERROR_NOT_SUPPORTED;
    if (answer == NVML_SUCCESS)
        enroll(set, &call, types);
    return close_call(answer);
}

/* ---- waiting ---- */

static bool was_told(const struct nvmlEventSet_st *set, const struct told *event) {
    size_t known = set->told_count < MAX_TOLD ? set->told_count : MAX_TOLD;
    for (size_t i = 0; i < known; i++)
        if (set->told[i].slot == event->slot && set->told[i].at_ns == event->at_ns && set->told[i].code == event->code)
            return true;
    return false;
}

static struct slot *registered(const struct nvmlEventSet_st *set, const struct xid *xid) {
    for (size_t i = 0; i < set->registration_count; i++) {
        const struct registration *one = &set->registrations[i];
        bool heard = one->slot->device == xid->device && one->since_ns < xid->at_ns;
        if (heard && one->types & nvmlEventTypeXidCriticalError)
            return one->slot;
    }
    return NULL;
}

/* The earliest that has happened and was not told yet. */
static const struct xid *next_event(const struct call *call, const struct nvmlEventSet_st *set) {
    const struct xid *next = NULL;
    for (size_t i = 0; i < call->scenario->xid_count; i++) {
        const struct xid *xid = &call->scenario->xids[i];
        struct told event = {registered(set, xid), xid->at_ns, xid->code};
        if (event.slot && xid->at_ns <= call->now_ns && !was_told(set, &event) && (!next || xid->at_ns < next->at_ns))
            next = xid;
    }
    return next;
}

static bool has_lost_device(const struct nvmlEventSet_st *set) {
    for (size_t i = 0; i < set->registration_count; i++)
        if (set->registrations[i].slot->lost)
            return true;
    return false;
}

static void tell(struct nvmlEventSet_st *set, const struct xid *xid, nvmlEventData_t *data) {
    struct slot *slot = registered(set, xid);
    set->told[set->told_count++ % MAX_TOLD] = (struct told){slot, xid->at_ns, xid->code};
    *data = (nvmlEventData_t){
        .device = (nvmlDevice_t)(void *)slot,
        .eventType = nvmlEventTypeXidCriticalError,
        .eventData = (unsigned long long)xid->code,
        .gpuInstanceId = (unsigned int)xid->gpu_instance, /* -1: 0xffffffff, as the header says */
        .computeInstanceId = (unsigned int)xid->compute_instance,
    };
}

/* Looks once. TIMEOUT: nothing has happened yet. */
static nvmlReturn_t look_for_event(const struct call *call, nvmlEventSet_t set, nvmlEventData_t *data) {
    if (!set_at(set) || !data)
        return NVML_ERROR_INVALID_ARGUMENT;
    const struct xid *xid = next_event(call, set);
    if (!xid)
        return has_lost_device(set) ? NVML_ERROR_GPU_IS_LOST : NVML_ERROR_TIMEOUT;
    tell(set, xid, data);
    return NVML_SUCCESS;
}

static nvmlReturn_t wait_for_event(const char *function, nvmlEventSet_t set, nvmlEventData_t *data,
                                   unsigned int timeout_ms) {
    struct call call;
    nvmlReturn_t answer = open_call(&call, function);
    int64_t until_ns = call.now_ns + (int64_t)timeout_ms * MS_NS;
    if (answer == NVML_SUCCESS)
        answer = look_for_event(&call, set, data);
    while (answer == NVML_ERROR_TIMEOUT && call.now_ns < until_ns) {
        int64_t left_ns = until_ns - call.now_ns;
        pause_call(&call, left_ns < STEP_NS ? left_ns : STEP_NS);
        answer = check_again();
        if (answer == NVML_SUCCESS)
            answer = look_for_event(&call, set, data);
    }
    return close_call(answer);
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms) {
    return wait_for_event(__func__, set, data, timeout_ms);
}

/* Callers of the first version have no room for the ids of instances. */
nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms) {
    nvmlEventData_t known;
    nvmlReturn_t answer = wait_for_event(__func__, set, data ? &known : NULL, timeout_ms);
    if (answer == NVML_SUCCESS)
        memcpy(data, &known, offsetof(nvmlEventData_t, gpuInstanceId));
    return answer;
}
