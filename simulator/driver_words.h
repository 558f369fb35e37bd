/* How the words of a scenario are cut and understood. */
#ifndef GPUTALLY_DRIVER_WORDS_H
#define GPUTALLY_DRIVER_WORDS_H

#include "driver.h"

/* One key of a line. A table of them ends with a key of NULL. */
struct field {
    const char *key;
    /* NULL when well, else what is wrong with the value. A bare word has no value (NULL). */
    const char *(*read)(const char *value, void *into);
    size_t offset;
};

/* Cuts the next `key`, `key=value` or `key="value with blanks"` off *line; NULL at its end. */
const char *next_word(char **line, char **value);

/* Fills a struct from the words of a line. `*culprit` becomes the word that is wrong. */
const char *read_words(const struct field *fields, char *line, void *into, const char **culprit);

const char *read_text(const char *value, void *into); /* text */
const char *read_flag(const char *value, void *into); /* bool */
const char *read_int(const char *value, void *into); /* int64_t, as all below */
const char *read_time(const char *value, void *into);
const char *read_kind(const char *value, void *into);
const char *read_mig(const char *value, void *into);
const char *read_accounting(const char *value, void *into);
const char *read_support(const char *value, void *into); /* 1 or 0 */
const char *read_quirks(const char *value, void *into);
const char *read_error(const char *value, void *into);
const char *read_schedule(const char *value, void *into); /* struct schedule */

#endif
