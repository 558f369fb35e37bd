/* Reads a scenario: one thing a line, its kind first, then key=value words. docs/simulator.md has the
 * whole language. The keys stand in tables, so that what the parser takes can be read off them.
 *
 * A file is taken whole or not at all: half a scenario would be a host that nobody described. */
#define _GNU_SOURCE
#include "driver.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE_BYTES = 64 << 20, MAX_ROWS = 1 << 20 };

struct field {
    const char *key;
    /* NULL when well, else what is wrong with the value. A bare word has no value (NULL). */
    const char *(*read)(const char *value, void *into);
    size_t offset;
};

/* ---- values ---- */

static const char *read_text(const char *value, void *into) {
    if (!value || strlen(value) >= TEXT_BYTES)
        return "wants a text of at most 95 bytes";
    strcpy(into, value);
    return NULL;
}

static const char *read_flag(const char *value, void *into) {
    if (value)
        return "stands alone, without a value";
    *(bool *)into = true;
    return NULL;
}

/* Moves *cursor behind the number. */
static bool take_int(const char **cursor, int64_t *into) {
    char *end;
    if (!isdigit((unsigned char)**cursor))
        return false; /* strtoll would skip blanks and take a sign */
    errno = 0;
    *into = strtoll(*cursor, &end, 10);
    *cursor = end;
    return errno == 0;
}

static const char *read_int(const char *value, void *into) {
    if (!value || !take_int(&value, into) || *value)
        return "wants a whole number, 0 or more";
    return NULL;
}

static bool take_unit(const char **cursor, int64_t *unit_ns) {
    static const struct { const char *name; int64_t ns; } UNITS[] = {
        {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000},
        {"min", 60000000000}, {"h", 3600000000000},
    };
    size_t length = strspn(*cursor, "abcdefghijklmnopqrstuvwxyz");
    *unit_ns = 1;
    if (!length)
        return true; /* a bare number is nanoseconds */
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
        if (strlen(UNITS[i].name) == length && !strncmp(*cursor, UNITS[i].name, length)) {
            *unit_ns = UNITS[i].ns;
            *cursor += length;
            return true;
        }
    return false;
}

static bool take_time(const char **cursor, int64_t *into) {
    int64_t unit_ns;
    return take_int(cursor, into) && take_unit(cursor, &unit_ns) && !__builtin_mul_overflow(*into, unit_ns, into);
}

static const char *read_time(const char *value, void *into) {
    if (!value || !take_time(&value, into) || *value)
        return "wants a time: a whole number and ns, us, ms, s, min or h (nothing: ns)";
    return NULL;
}

static bool add_step(struct schedule *schedule, int64_t at_ns, int64_t value) {
    if (schedule->count && at_ns <= schedule->steps[schedule->count - 1].at_ns)
        return false;
    if (!(schedule->count & (schedule->count - 1))) { /* full at each power of two */
        size_t room = schedule->count ? schedule->count * 2 : 1;
        struct step *steps = realloc(schedule->steps, room * sizeof *steps);
        if (!steps)
            return false;
        schedule->steps = steps;
    }
    schedule->steps[schedule->count++] = (struct step){.at_ns = at_ns, .value = value};
    return true;
}

static bool take_steps(const char *cursor, struct schedule *schedule) {
    for (;;) {
        int64_t at_ns, value;
        if (!take_time(&cursor, &at_ns) || *cursor++ != ':' || !take_int(&cursor, &value))
            return false;
        if (!add_step(schedule, at_ns, value))
            return false;
        if (!*cursor)
            return true;
        if (*cursor++ != ',')
            return false;
    }
}

static const char *read_schedule(const char *value, void *into) {
    struct schedule *schedule = into;
    int64_t constant;
    free(schedule->steps); /* said twice in one line: the last one counts */
    *schedule = (struct schedule){0};
    bool well = value && (read_int(value, &constant) ? take_steps(value, schedule) : add_step(schedule, 0, constant));
    prepare_schedule(schedule);
    return well ? NULL : "wants one number, or time:number steps with rising times, joined by commas";
}

struct word {
    const char *name;
    int64_t value;
};

static bool look_up(const struct word *words, const char *name, size_t length, int64_t *into) {
    for (; words->name; words++)
        if (strlen(words->name) == length && !strncmp(words->name, name, length)) {
            *into = words->value;
            return true;
        }
    return false;
}

static const char *read_kind(const char *value, void *into) {
    static const struct word KINDS[] = {{"compute", COMPUTE}, {"graphics", GRAPHICS}, {"mps", MPS}, {NULL, 0}};
    return value && look_up(KINDS, value, strlen(value), into) ? NULL : "is compute, graphics or mps";
}

static const char *read_mig(const char *value, void *into) {
    static const struct word MODES[] = {
        {"unsupported", MIG_UNSUPPORTED}, {"disabled", MIG_DISABLED}, {"enabled", MIG_ENABLED}, {NULL, 0}};
    return value && look_up(MODES, value, strlen(value), into) ? NULL : "is unsupported, disabled or enabled";
}

static const char *read_quirks(const char *value, void *into) {
    static const struct word QUIRKS[] = {
        {"zeros", QUIRK_ZEROS},         {"junk", QUIRK_JUNK},
        {"wide_rows", QUIRK_WIDE_ROWS}, {"empty_success", QUIRK_EMPTY_SUCCESS},
        {"stale_count", QUIRK_STALE_COUNT}, {NULL, 0}};
    while (value && *value) {
        size_t length = strcspn(value, ",");
        int64_t quirk;
        if (!look_up(QUIRKS, value, length, &quirk))
            return "is a list of zeros, junk, wide_rows, empty_success, stale_count";
        *(int64_t *)into |= quirk;
        value += length + (value[length] == ',');
    }
    return NULL;
}

static const char *read_error(const char *value, void *into) {
    if (value && !strncmp(value, "NVML_ERROR_", 11))
        value += 11;
    for (size_t i = 0; value && i < ERROR_TEXT_COUNT; i++)
        if (!strcmp(ERROR_TEXTS[i].name, value)) {
            *(int64_t *)into = ERROR_TEXTS[i].code;
            return NULL;
        }
    return read_int(value, into) ? "is the name of an NVML error such as GPU_IS_LOST, or its number" : NULL;
}

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

/* ---- words and lines ---- */

/* Cuts the next `key`, `key=value` or `key="value with blanks"` off *line. */
static const char *next_word(char **line, char **value) {
    char *word = *line + strspn(*line, " \t\r");
    char *end = word + strcspn(word, " \t\r=");
    bool closed = true;
    *value = NULL;
    if (!*word || *word == '#')
        return NULL;
    if (*end == '=') {
        *end++ = 0;
        bool quoted = *end == '"';
        *value = end + quoted;
        end = *value + strcspn(*value, quoted ? "\"" : " \t\r");
        closed = !quoted || *end;
    }
    *line = *end ? end + 1 : end;
    *end = 0;
    return closed ? word : "an unclosed quotation mark"; /* which is no key of any line */
}

static const char *read_word(const struct field *fields, const char *key, const char *value, void *into) {
    for (; fields->key; fields++)
        if (!strcmp(fields->key, key))
            return fields->read(value, (char *)into + fields->offset);
    return "is not a key of this line";
}

/* `*culprit` becomes the word that is wrong. */
static const char *read_words(const struct field *fields, char *line, void *into, const char **culprit) {
    const char *key;
    char *value;
    while ((key = next_word(&line, &value))) {
        const char *wrong = read_word(fields, key, value, into);
        *culprit = key;
        if (wrong)
            return wrong;
    }
    *culprit = "this line"; /* for what is found wrong with it as a whole */
    return NULL;
}

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

struct scenario *read_scenario(const char *path, char *why, size_t why_bytes) {
    size_t length = 0;
    char *content = slurp(path, &length);
    bool is_text = content && !memchr(content, 0, length); /* what follows a zero would go unread */
    struct scenario *scenario = is_text ? new_scenario() : NULL;
    if (!scenario)
        snprintf(why, why_bytes, "%s: %s", path, content && !is_text ? "is no text" : strerror(errno));
    bool well = scenario && read_lines(scenario, content, path, why, why_bytes);
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
