/* Reads a scenario: one thing a line, its kind first, then key=value words. docs/simulator.md has the
 * whole language. The keys stand in tables, so that what the parser takes can be read off them.
 *
 * A file is taken whole or not at all: half a scenario would be a host that nobody described. */
#define _GNU_SOURCE
#include "driver_words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE_BYTES = 64 << 20, MAX_ROWS = 1 << 20 };

/* A process whose memory the driver does not know says memory=unavailable. */
static const char *read_memory(const char *value, void *into) {
    struct process *process = into;
    process->memory_unavailable = value && !strcmp(value, "unavailable");
    return process->memory_unavailable ? NULL : read_schedule(value, &process->memory_bytes);
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
    {"utilization", read_schedule, DEVICE(utilization)},
    {"memory_utilization", read_schedule, DEVICE(memory_utilization)},
    {"power_mw", read_schedule, DEVICE(power_mw)},
    {"temperature_c", read_schedule, DEVICE(temperature_c)},
    {"energy_origin", read_time, DEVICE(energy_origin_ns)},
    {"mig", read_mig, DEVICE(mig)},
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

static const struct field SAMPLES_FIELDS[] = {{"period", read_time, offsetof(struct scenario, sample_period_ns)},
                                              {NULL, NULL, 0}};

/* ---- lines ---- */

/* Grows at powers of two; NULL without memory or beyond any sane scenario. */
static void *add_row(void **rows, size_t *count, size_t row_bytes) {
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

static int64_t find_device(const struct scenario *scenario, const char *wanted) {
    int64_t index;
    for (size_t i = 0; i < scenario->device_count; i++)
        if (!strcmp(scenario->devices[i].uuid, wanted))
            return (int64_t)i;
    return !read_int(wanted, &index) && index < (int64_t)scenario->device_count ? index : NO_DEVICE;
}

static const char *read_driver_line(struct scenario *scenario, char *line, const char **culprit) {
    scenario->driver.told = true;
    return read_words(DRIVER_FIELDS, line, &scenario->driver, culprit);
}

static const char *read_samples_line(struct scenario *scenario, char *line, const char **culprit) {
    const char *wrong = read_words(SAMPLES_FIELDS, line, scenario, culprit);
    return wrong ? wrong : scenario->sample_period_ns >= 1000 ? NULL : "wants a period of at least 1us";
}

static const char *read_device_line(struct scenario *scenario, char *line, const char **culprit) {
    if (scenario->device_count == MAX_DEVICES)
        return "is one device too many: 64 at most";
    struct device *device = &scenario->devices[scenario->device_count];
    device->minor = (int64_t)scenario->device_count;
    device->mig = MIG_DISABLED;
    scenario->device_count++; /* also when the line is wrong: what it has allocated is freed with the rest */
    const char *wrong = read_words(DEVICE_FIELDS, line, device, culprit);
    return wrong ? wrong : *device->uuid ? NULL : "wants a uuid";
}

static const char *read_process_line(struct scenario *scenario, char *line, const char **culprit) {
    struct process_line row = {.process = {.end_ns = NEVER_NS, .gpu_instance = -1, .compute_instance = -1}};
    const char *wrong = read_words(PROCESS_FIELDS, line, &row, culprit);
    int64_t index = find_device(scenario, row.device);
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

static const char *read_fault_line(struct scenario *scenario, char *line, const char **culprit) {
    struct fault_line row = {.device = "*", .fault = {.until_ns = NEVER_NS}};
    const char *wrong = read_words(FAULT_FIELDS, line, &row, culprit);
    if (wrong)
        return wrong;
    row.fault.device = strcmp(row.device, "*") ? find_device(scenario, row.device) : ALL_DEVICES;
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

static const struct {
    const char *name;
    const char *(*read)(struct scenario *, char *line, const char **culprit);
} LINES[] = {
    {"driver", read_driver_line}, {"device", read_device_line},   {"process", read_process_line},
    {"fault", read_fault_line},   {"samples", read_samples_line},
};

static const char *read_line(struct scenario *scenario, char *line, const char **culprit) {
    char *value;
    const char *name = next_word(&line, &value);
    if (!name)
        return NULL; /* empty, or a comment */
    *culprit = name;
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++)
        if (!strcmp(LINES[i].name, name))
            return value ? "stands alone, without a value" : LINES[i].read(scenario, line, culprit);
    return "begins no line I know: driver, samples, device, process, fault";
}

static bool read_lines(struct scenario *scenario, char *content, const char *path, char *why, size_t why_bytes) {
    unsigned int number = 0;
    char *line;
    while ((line = strsep(&content, "\n"))) {
        const char *culprit = "this line", *wrong = read_line(scenario, line, &culprit);
        number++;
        if (wrong) {
            snprintf(why, why_bytes, "%s:%u: %s %s", path, number, culprit, wrong);
            return false;
        }
    }
    /* An editor that truncates before it writes must not unplug every device for a moment. */
    if (!scenario->driver.told)
        snprintf(why, why_bytes, "%s: has no driver line", path);
    return scenario->driver.told;
}

/* ---- files ---- */

/* The whole file with a zero behind it, or NULL with errno set. */
static char *slurp(const char *path, size_t *length) {
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *content = NULL;
    long bytes = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
    errno = bytes > MAX_FILE_BYTES ? EFBIG : errno;
    if (bytes >= 0 && bytes <= MAX_FILE_BYTES && !fseek(file, 0, SEEK_SET))
        content = malloc((size_t)bytes + 1);
    if (content)
        content[*length = fread(content, 1, (size_t)bytes, file)] = 0;
    fclose(file);
    return content;
}

static struct scenario *new_scenario(void) {
    struct scenario *scenario = calloc(1, sizeof *scenario);
    if (!scenario)
        return NULL;
    scenario->sample_period_ns = 166667000; /* a sixth of a second, in whole microseconds as the stamps are */
    scenario->driver.cuda = 13000;
    strcpy(scenario->driver.version, "580.95.05");
    strcpy(scenario->driver.nvml, "13.580.95.05");
    return scenario;
}

static bool join_lines(struct scenario *scenario, char *why, size_t why_bytes) {
    for (size_t i = 0; i < scenario->device_count; i++)
        if (!join_pids(&scenario->devices[i])) {
            snprintf(why, why_bytes, "no memory for that many processes");
            return false;
        }
    return true;
}

struct scenario *read_scenario(const char *path, char *why, size_t why_bytes) {
    size_t length = 0;
    char *content = slurp(path, &length);
    bool is_text = content && !memchr(content, 0, length); /* what follows a zero would go unread */
    struct scenario *scenario = is_text ? new_scenario() : NULL;
    if (!scenario)
        snprintf(why, why_bytes, "%s: %s", path, content && !is_text ? "is no text" : strerror(errno));
    bool well = scenario && read_lines(scenario, content, path, why, why_bytes) && join_lines(scenario, why, why_bytes);
    free(content);
    if (well)
        return scenario;
    free_scenario(scenario);
    return NULL;
}

static void free_device(struct device *device) {
    for (size_t i = 0; i < device->process_count; i++) {
        free(device->processes[i].memory_bytes.steps);
        free(device->processes[i].sm_percent.steps);
    }
    free(device->processes);
    free(device->utilization.steps);
    free(device->memory_utilization.steps);
    free(device->power_mw.steps);
    free(device->temperature_c.steps);
}

void free_scenario(struct scenario *scenario) {
    if (!scenario)
        return;
    for (size_t i = 0; i < scenario->device_count; i++)
        free_device(&scenario->devices[i]);
    free(scenario->faults);
    free(scenario);
}
