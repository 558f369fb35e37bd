/* What programs set on devices: kept beside the scenario, in SCENARIO.settings, so that all programs
 * see it as they would in one driver. Wherever that file cannot be written nothing can be set.
 *
 * It also holds the distance between the two clocks: a start is then told in the same microsecond
 * by every program. A file from before the last boot has another distance and counts for nothing. */
#define _GNU_SOURCE
#include "driver_client.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const int64_t SAME_BOOT_NS = 60000000000; /* more than anybody sets a clock by while a test runs */

static int open_file(int flags) {
    char path[sizeof client.path + 16];
    snprintf(path, sizeof path, "%s.settings", client.path);
    int file = open(path, flags | O_CLOEXEC, 0666);
    if (file >= 0)
        flock(file, flags & O_CREAT ? LOCK_EX : LOCK_SH);
    return file;
}

static void read_row(struct settings *settings, const char *line) {
    struct setting row;
    int read = sscanf(line, "%95s %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64, row.uuid, &row.accounting, &row.epoch,
                      &row.since_ns, &row.cleared_ns);
    if (read == 5 && settings->count < MAX_DEVICES)
        settings->rows[settings->count++] = row;
}

static void read_settings(int file, struct settings *settings) {
    char content[32768], *rest = content, *line;
    ssize_t length = file < 0 ? 0 : pread(file, content, sizeof content - 1, 0);
    struct moment now = moment_now();
    int64_t distance_ns = now.wall_ns - now.boot_ns, told_ns = 0;
    *settings = (struct settings){.wall_minus_boot_ns = distance_ns};
    content[length > 0 ? length : 0] = 0;
    if (sscanf(content, "clock %" SCNd64, &told_ns) != 1 || llabs(told_ns - distance_ns) > SAME_BOOT_NS)
        return;
    settings->wall_minus_boot_ns = told_ns;
    while ((line = strsep(&rest, "\n")))
        read_row(settings, line);
}

static bool write_settings(int file, const struct settings *settings) {
    char content[32768];
    int length = snprintf(content, sizeof content, "clock %" PRId64 "\n", settings->wall_minus_boot_ns);
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting *row = &settings->rows[i];
        length += snprintf(content + length, sizeof content - (size_t)length,
                           "%s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", row->uuid, row->accounting,
                           row->epoch, row->since_ns, row->cleared_ns);
    }
    return !ftruncate(file, 0) && pwrite(file, content, (size_t)length, 0) == length;
}

/* The first program writes the distance of the clocks down for all others. */
void load_settings(struct settings *settings) {
    int file = open_file(O_RDONLY);
    if (file < 0 && (file = open_file(O_RDWR | O_CREAT)) >= 0) {
        read_settings(file, settings);
        write_settings(file, settings);
    }
    read_settings(file, settings);
    if (file >= 0)
        close(file);
}

bool change_settings(void (*change)(struct settings *settings, const struct call *call, int64_t value),
                     const struct call *call, int64_t value) {
    struct settings settings;
    int file = open_file(O_RDWR | O_CREAT);
    if (file < 0)
        return false;
    read_settings(file, &settings);
    change(&settings, call, value);
    bool written = write_settings(file, &settings);
    close(file);
    return written;
}
