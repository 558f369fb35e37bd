/* Calls that list who is on a device.
 *
 * The size protocol: a caller without room is told INSUFFICIENT_SIZE and the count it needs; SUCCESS
 * with a count of zero says that there is nothing. Between two calls the list may grow. */
#include "driver.h"

#include <string.h>

/* The rows of all symbols begin alike, so one row is made and as much of it given as the symbol has. */
typedef nvmlProcessDetail_v1_t row;
enum { ROW_V1 = sizeof(nvmlProcessInfo_v1_t), ROW_V2 = sizeof(nvmlProcessInfo_v2_t), ROW_WIDE = sizeof(row) };

enum { ANY_KIND = -1, MAX_ODD = 8, GROWTH = 4 };

static const unsigned int NO_ID = 0xffffffff;
static const unsigned int ODD_PIDS[] = {0, (1 << 22) + 1, 0xffffffff}; /* Linux has none above 2^22 */

struct list {
    const char *function;
    int64_t kind;
    size_t row_bytes;
    bool third; /* behind a v3 symbol, whose rows some drivers made wider */
};

/* A whole device lists all, a MIG device its own. */
static bool belongs(const struct call *call, struct process *process, int64_t kind) {
    return (kind == ANY_KIND || process->kind == kind) && is_within(process, call->instance) &&
           is_here(process, call->now_ns);
}

static unsigned int count_listed(const struct call *call, int64_t kind) {
    unsigned int count = 0;
    for (size_t i = 0; i < call->device->process_count; i++)
        count += belongs(call, &call->device->processes[i], kind);
    return count;
}

static row row_of(const struct call *call, const struct process *process) {
    unsigned long long bytes = (unsigned long long)value_at(&process->memory_bytes, call->now_ns);
    if (call->device->quirks & QUIRK_HUGE_MEMORY)
        bytes = 2 * (unsigned long long)call->device->memory_bytes;
    return (row){
        .pid = (unsigned int)process->pid,
        .usedGpuMemory = process->memory_unavailable ? (unsigned long long)NVML_VALUE_NOT_AVAILABLE : bytes,
        .gpuInstanceId = (unsigned int)process->gpu_instance, /* -1: 0xffffffff, as the header says */
        .computeInstanceId = (unsigned int)process->compute_instance,
    };
}

/* What buggy drivers put behind the processes. */
static unsigned int add_odd_rows(const struct call *call, int64_t kind, row odd[MAX_ODD]) {
    unsigned int count = 0;
    if (kind != COMPUTE && kind != ANY_KIND)
        return 0;
    if (call->device->quirks & QUIRK_ODD_PIDS)
        for (size_t i = 0; i < sizeof ODD_PIDS / sizeof *ODD_PIDS; i++)
            odd[count++] = (row){.pid = ODD_PIDS[i], .usedGpuMemory = 1 << 20, .gpuInstanceId = NO_ID,
                                 .computeInstanceId = NO_ID};
    if (call->device->quirks & QUIRK_ZERO_ROWS)
        for (int i = 0; i < 2; i++)
            odd[count++] = (row){0};
    return count;
}

/* Stops where the caller's memory does: the real fault wrote on, ours must not. */
static char *put_row(const row *made, size_t row_bytes, char *rows, const char *end) {
    if (rows < end)
        memcpy(rows, made, (size_t)(end - rows) < row_bytes ? (size_t)(end - rows) : row_bytes);
    return rows + row_bytes;
}

static void fill_rows(struct call *call, int64_t kind, size_t row_bytes, char *rows, const char *end) {
    row odd[MAX_ODD];
    unsigned int odd_count = add_odd_rows(call, kind, odd);
    for (size_t i = 0; i < call->device->process_count; i++) {
        if (!belongs(call, &call->device->processes[i], kind))
            continue;
        row made = row_of(call, &call->device->processes[i]);
        rows = put_row(&made, row_bytes, rows, end);
    }
    for (unsigned int i = 0; i < odd_count; i++)
        rows = put_row(&odd[i], row_bytes, rows, end);
}

/* How many rows the caller is told to make room for; 0: it has enough. */
static unsigned int rows_missing(const struct call *call, unsigned int needed, unsigned int room) {
    if (call->device->quirks & QUIRK_GROWING_LIST && needed && room < needed + GROWTH)
        return room < needed ? needed : room + 1;
    return room < needed ? needed : 0;
}

static nvmlReturn_t answer_list(struct call *call, const struct list *list, unsigned int *count, void *rows) {
    row odd[MAX_ODD];
    unsigned int needed = count_listed(call, list->kind) + add_odd_rows(call, list->kind, odd);
    unsigned int room = rows ? *count : 0;
    bool stale = !room && needed && call->device->quirks & QUIRK_STALE_COUNT;
    needed -= stale;
    unsigned int missing = rows_missing(call, needed, room);
    bool wide = list->third && call->device->quirks & QUIRK_WIDE_ROWS;
    *count = missing ? missing : needed;
    if (missing)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    if (room)
        fill_rows(call, list->kind, wide ? ROW_WIDE : list->row_bytes, rows, (char *)rows + room * list->row_bytes);
    return NVML_SUCCESS;
}

/* In MIG mode the whole device tells only those with privileges, says the header. */
static bool is_private(const struct call *call) {
    return call->device->quirks & QUIRK_MIG_PRIVATE && call->device->mig == MIG_ENABLED && !call->instance;
}

static nvmlReturn_t give_list(struct list list, nvmlDevice_t handle, unsigned int *count, void *rows) {
    struct call call;
    nvmlReturn_t answer = open_any_call(&call, list.function, handle);
    if (answer == NVML_SUCCESS && (!count || (*count && !rows)))
        answer = NVML_ERROR_INVALID_ARGUMENT;
    if (answer == NVML_SUCCESS && is_private(&call))
        answer = NVML_ERROR_NO_PERMISSION;
    if (answer == NVML_SUCCESS)
        answer = answer_list(&call, &list, count, rows);
    return close_call(answer);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t handle, unsigned int *count,
                                                  nvmlProcessInfo_v1_t *rows) {
    return give_list((struct list){__func__, COMPUTE, ROW_V1, false}, handle, count, rows);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t handle, unsigned int *count,
                                                     nvmlProcessInfo_v2_t *rows) {
    return give_list((struct list){__func__, COMPUTE, ROW_V2, false}, handle, count, rows);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                     nvmlProcessInfo_t *rows) {
    return give_list((struct list){__func__, COMPUTE, ROW_V2, true}, handle, count, rows);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t handle, unsigned int *count,
                                                   nvmlProcessInfo_v1_t *rows) {
    return give_list((struct list){__func__, GRAPHICS, ROW_V1, false}, handle, count, rows);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t handle, unsigned int *count,
                                                      nvmlProcessInfo_v2_t *rows) {
    return give_list((struct list){__func__, GRAPHICS, ROW_V2, false}, handle, count, rows);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                      nvmlProcessInfo_t *rows) {
    return give_list((struct list){__func__, GRAPHICS, ROW_V2, true}, handle, count, rows);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses(nvmlDevice_t handle, unsigned int *count,
                                                     nvmlProcessInfo_v1_t *rows) {
    return give_list((struct list){__func__, MPS, ROW_V1, false}, handle, count, rows);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v2(nvmlDevice_t handle, unsigned int *count,
                                                        nvmlProcessInfo_v2_t *rows) {
    return give_list((struct list){__func__, MPS, ROW_V2, false}, handle, count, rows);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                        nvmlProcessInfo_t *rows) {
    return give_list((struct list){__func__, MPS, ROW_V2, true}, handle, count, rows);
}

/* ---- the list of all kinds, with protected memory ---- */

static nvmlReturn_t check_details(const nvmlProcessDetailList_t *list) {
    if (!list || list->version != nvmlProcessDetailList_v1 || list->mode >= NVML_PROCESS_MODE_MAX)
        return NVML_ERROR_INVALID_ARGUMENT;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRunningProcessDetailList(nvmlDevice_t handle, nvmlProcessDetailList_t *details) {
    struct call call;
    nvmlReturn_t answer = open_any_call(&call, __func__, handle);
    if (answer == NVML_SUCCESS)
        answer = check_details(details);
    if (answer == NVML_SUCCESS) {
        /* The first three modes are numbered as our kinds are. */
        int64_t kind = details->mode == NVML_PROCESS_MODE_ALL ? ANY_KIND : (int64_t)details->mode;
        struct list list = {__func__, kind, ROW_WIDE, false};
        answer = answer_list(&call, &list, &details->numProcArrayEntries, details->procArray);
    }
    return close_call(answer);
}
