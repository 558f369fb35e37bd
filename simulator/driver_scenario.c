/* Reads a scenario: one thing a line, its kind first, then key=value words. docs/simulator.md has the
 * whole language.
 *
 * A file is taken whole or not at all: half a scenario would be a host that nobody described. */
#define _GNU_SOURCE
#include "driver_lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE_BYTES = 64 << 20 };

static const struct {
    const char *name;
    const char *(*read)(struct scenario *, char *line, const char **culprit);
} LINES[] = {
    {"driver", read_driver_line},     {"samples", read_samples_line}, {"device", read_device_line},
    {"instance", read_instance_line}, {"process", read_process_line}, {"fault", read_fault_line},
    {"xid", read_xid_line},
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
    return "begins no line I know: driver, samples, device, instance, process, fault, xid";
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
    for (size_t i = 0; i < device->instance_count; i++) {
        free(device->instances[i].utilization.steps);
        free(device->instances[i].sm_utilization.steps);
    }
    free(device->instances);
    free(device->utilization.steps);
    free(device->sm_utilization.steps);
    free(device->memory_utilization.steps);
    free(device->power_mw.steps);
    free(device->temperature_c.steps);
    free(device->energy_steps_mj.steps);
}

void free_scenario(struct scenario *scenario) {
    if (!scenario)
        return;
    for (size_t i = 0; i < scenario->device_count; i++)
        free_device(&scenario->devices[i]);
    free(scenario->faults);
    free(scenario->xids);
    free(scenario);
}
