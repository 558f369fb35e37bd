/* The kinds of line that a scenario has. Each reader takes the rest of the line, and says what is wrong
 * with it (NULL: nothing) as the end of a sentence that *culprit begins. */
#ifndef GPUTALLY_DRIVER_LINES_H
#define GPUTALLY_DRIVER_LINES_H

#include "driver_words.h"

const char *read_driver_line(struct scenario *scenario, char *line, const char **culprit);
const char *read_samples_line(struct scenario *scenario, char *line, const char **culprit);
const char *read_device_line(struct scenario *scenario, char *line, const char **culprit);
const char *read_instance_line(struct scenario *scenario, char *line, const char **culprit);
const char *read_process_line(struct scenario *scenario, char *line, const char **culprit);
const char *read_fault_line(struct scenario *scenario, char *line, const char **culprit);
const char *read_xid_line(struct scenario *scenario, char *line, const char **culprit);

/* A zeroed row at the end of a table that grows at powers of two; NULL without memory or beyond any sane scenario. */
void *add_row(void **rows, size_t *count, size_t row_bytes);

/* Can a device have that many, of either kind? */
bool is_slices(int64_t slices);

/* Index of a device of an earlier line, or NO_DEVICE. */
int64_t find_device(const struct scenario *scenario, const char *wanted);
/* The same; the UUID of a MIG device is the device it is on, and gives the ids. */
int64_t find_place(const struct scenario *scenario, const char *wanted, int64_t *gpu_instance,
                   int64_t *compute_instance);

#endif
