/* The lines of a scenario, kind by kind. The keys stand in tables, so that what the parser takes can be
 * read off them. */
#include "driver_lines.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 1 << 20 };

/* A process whose memory the driver does not know says memory=unavailable. */
static const char *read_memory(const char *value, void *into) {
    struct process *process = into;
    process->memory_unavailable = value && !strcmp(value, "unavailable");
    return process->memory_unavailable ? NULL : read_schedule(value, &process->memory_bytes);
}

/* A board that does not know how busy it is says utilization=unsupported. */
static const char *read_utilization(const char *value, void *into) {
    struct device *device = into;
    device->utilization_unsupported = value && !strcmp(value, "unsupported");
    return device->utilization_unsupported ? NULL : read_schedule(value, &device->utilization);
}

/* ---- what each kind of line takes ---- */

#define DRIVER(member) offsetof(struct driver, member)
static const struct field DRIVER_FIELDS[] = {
    {"missing", read_flag, DRIVER(missing)}, {"epoch", read_int, DRIVER(epoch)},
    {"version", read_text, DRIVER(version)}, {"library", read_text, DRIVER(library)},
    {"nvml", read_text, DRIVER(nvml)},       {"cuda", read_int, DRIVER(cuda)},
    {NULL, NULL, 0}};

#define DEVICE(member) offsetof(struct device, member)
static const struct field DEVICE_FIELDS[] = {
    {"uuid", read_text, DEVICE(uuid)},
    {"name", read_text, DEVICE(name)},
    {"serial", read_text, DEVICE(serial)},
    {"bus", read_text, DEVICE(bus)},
    {"minor", read_int, DEVICE(minor)},
    {"memory", read_int, DEVICE(memory_bytes)},
    {"reserved", read_int, DEVICE(reserved_bytes)},
    {"unlisted", read_int, DEVICE(unlisted_bytes)},
    {"utilization", read_utilization, 0},
    {"sm_utilization", read_schedule, DEVICE(sm_utilization)},
    {"memory_utilization", read_schedule, DEVICE(memory_utilization)},
    {"power_mw", read_schedule, DEVICE(power_mw)},
    {"temperature_c", read_schedule, DEVICE(temperature_c)},
    {"energy", read_support, DEVICE(energy)},
    {"energy_steps", read_schedule, DEVICE(energy_steps_mj)},
    {"energy_origin", read_time, DEVICE(energy_origin_ns)},
    {"mig", read_mig, DEVICE(mig)},
    {"mig_compute_slices", read_int, DEVICE(mig_compute_slices)},
    {"mig_memory_slices", read_int, DEVICE(mig_memory_slices)},
    {"multiprocessors", read_int, DEVICE(multiprocessors)},
    {"accounting", read_accounting, DEVICE(accounting)},
    {"gpm", read_support, DEVICE(gpm)},
    {"quirks", read_quirks, DEVICE(quirks)},
    {"generation", read_int, DEVICE(generation)},
    {"lost", read_flag, DEVICE(lost)},
    {NULL, NULL, 0}};

struct process_line {
    text device;
    struct process process;
};
#define PROCESS(member) offsetof(struct process_line, process.member)
static const struct field PROCESS_FIELDS[] = {
    {"device", read_text, offsetof(struct process_line, device)},
    {"pid", read_int, PROCESS(pid)},
    {"kind", read_kind, PROCESS(kind)},
    {"start", read_time, PROCESS(start_ns)},
    {"end", read_time, PROCESS(end_ns)},
    {"memory", read_memory, offsetof(struct process_line, process)},
    {"sm", read_schedule, PROCESS(sm_percent)},
    {"follow", read_flag, PROCESS(follow)},
    {"gpu_instance", read_int, PROCESS(gpu_instance)},
    {"compute_instance", read_int, PROCESS(compute_instance)},
    {NULL, NULL, 0}};

struct fault_line {
    text device;
    struct fault fault;
};
#define FAULT(member) offsetof(struct fault_line, fault.member)
static const struct field FAULT_FIELDS[] = {
    {"call", read_text, FAULT(call)},      {"device", read_text, offsetof(struct fault_line, device)},
    {"error", read_error, FAULT(error)},   {"delay", read_time, FAULT(delay_ns)},
    {"hang", read_flag, FAULT(hang)},      {"from", read_time, FAULT(from_ns)},
    {"until", read_time, FAULT(until_ns)}, {NULL, NULL, 0}};

struct xid_line {
    text device;
    struct xid xid;
};
#define XID(member) offsetof(struct xid_line, xid.member)
static const struct field XID_FIELDS[] = {
    {"device", read_text, offsetof(struct xid_line, device)},
    {"code", read_int, XID(code)},
    {"at", read_time, XID(at_ns)},
    {"gpu_instance", read_int, XID(gpu_instance)},
    {"compute_instance", read_int, XID(compute_instance)},
    {NULL, NULL, 0}};

static const struct field SAMPLES_FIELDS[] = {{"period", read_time, offsetof(struct scenario, sample_period_ns)},
                                              {NULL, NULL, 0}};

/* ---- lines ---- */

/* Grows at powers of two; NULL without memory or beyond any sane scenario. */
void *add_row(void **rows, size_t *count, size_t row_bytes) {
    if (*count >= MAX_ROWS)
        return NULL;
    if (!(*count & (*count - 1))) {
        void *grown = realloc(*rows, (*count ? *count * 2 : 1) * row_bytes);
        if (!grown)
            return NULL;
        *rows = grown;
    }
    return memset((char *)*rows + row_bytes * (*count)++, 0, row_bytes);
}

int64_t find_device(const struct scenario *scenario, const char *wanted) {
    int64_t index;
    for (size_t i = 0; i < scenario->device_count; i++)
        if (!strcmp(scenario->devices[i].uuid, wanted))
            return (int64_t)i;
    return !read_int(wanted, &index) && index < (int64_t)scenario->device_count ? index : NO_DEVICE;
}

const char *read_driver_line(struct scenario *scenario, char *line, const char **culprit) {
    scenario->driver.told = true;
    return read_words(DRIVER_FIELDS, line, &scenario->driver, culprit);
}

const char *read_samples_line(struct scenario *scenario, char *line, const char **culprit) {
    const char *wrong = read_words(SAMPLES_FIELDS, line, scenario, culprit);
    return wrong ? wrong : scenario->sample_period_ns >= 1000 ? NULL : "wants a period of at least 1us";
}

bool is_slices(int64_t slices) {
    return slices >= 1 && slices <= MAX_INSTANCES;
}

const char *read_device_line(struct scenario *scenario, char *line, const char **culprit) {
    if (scenario->device_count == MAX_DEVICES)
        return "is one device too many: 64 at most";
    struct device *device = &scenario->devices[scenario->device_count];
    device->minor = (int64_t)scenario->device_count;
    device->mig = MIG_DISABLED;
    device->gpm = -1;
    device->energy = 1;
    device->mig_compute_slices = 7; /* as A100, H100 and H200 */
    device->mig_memory_slices = 8;
    device->multiprocessors = 132;
    scenario->device_count++; /* also when the line is wrong: what it has allocated is freed with the rest */
    const char *wrong = read_words(DEVICE_FIELDS, line, device, culprit);
    if (!wrong && !*device->uuid)
        wrong = "wants a uuid";
    bool whole = is_slices(device->mig_compute_slices) && is_slices(device->mig_memory_slices);
    return wrong ? wrong : whole ? NULL : "wants 1 to 16 slices of each kind";
}

const char *read_process_line(struct scenario *scenario, char *line, const char **culprit) {
    struct process_line row = {.process = {.end_ns = NEVER_NS, .gpu_instance = -1, .compute_instance = -1}};
    const char *wrong = read_words(PROCESS_FIELDS, line, &row, culprit);
    int64_t *gpu_instance = &row.process.gpu_instance, *compute_instance = &row.process.compute_instance;
    int64_t index = wrong ? NO_DEVICE : find_place(scenario, row.device, gpu_instance, compute_instance);
    if (!wrong && index == NO_DEVICE)
        wrong = "wants the device of an earlier line, by index or uuid";
    if (!wrong && (row.process.pid <= 0 || row.process.pid > INT32_MAX))
        wrong = "wants a pid";
    struct device *device = wrong ? NULL : &scenario->devices[index];
    struct process *kept =
        wrong ? NULL : add_row((void **)&device->processes, &device->process_count, sizeof row.process);
    if (kept) {
        *kept = row.process;
        return NULL;
    }
    free(row.process.memory_bytes.steps);
    free(row.process.sm_percent.steps);
    return wrong ? wrong : "is too much: no memory for it";
}

const char *read_fault_line(struct scenario *scenario, char *line, const char **culprit) {
    struct fault_line row = {.device = "*", .fault = {.gpu_instance = -1, .compute_instance = -1}};
    row.fault.until_ns = NEVER_NS;
    const char *wrong = read_words(FAULT_FIELDS, line, &row, culprit);
    if (wrong)
        return wrong;
    row.fault.device = ALL_DEVICES;
    if (strcmp(row.device, "*"))
        row.fault.device = find_place(scenario, row.device, &row.fault.gpu_instance, &row.fault.compute_instance);
    if (row.fault.device == NO_DEVICE)
        return "wants the device of an earlier line, by index or uuid, or *";
    if (!*row.fault.call)
        return "wants a call";
    struct fault *kept = add_row((void **)&scenario->faults, &scenario->fault_count, sizeof *kept);
    if (!kept)
        return "is too much: no memory for it";
    *kept = row.fault;
    return NULL;
}

const char *read_xid_line(struct scenario *scenario, char *line, const char **culprit) {
    struct xid_line row = {.xid = {.gpu_instance = -1, .compute_instance = -1}};
    const char *wrong = read_words(XID_FIELDS, line, &row, culprit);
    if (wrong)
        return wrong;
    row.xid.device = find_place(scenario, row.device, &row.xid.gpu_instance, &row.xid.compute_instance);
    if (row.xid.device == NO_DEVICE)
        return "wants the device of an earlier line, by index or uuid";
    struct xid *kept = add_row((void **)&scenario->xids, &scenario->xid_count, sizeof *kept);
    if (!kept)
        return "is too much: no memory for it";
    *kept = row.xid;
    return NULL;
}
