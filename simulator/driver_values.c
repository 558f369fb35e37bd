/* The values of a scenario: numbers, times, schedules, names. Each reader takes the whole value or
 * says, as the end of a sentence that the key begins, what it wants. */
#include "driver_words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const char *read_text(const char *value, void *into) {
    if (!value || strlen(value) >= TEXT_BYTES)
        return "wants a text of at most 95 bytes";
    strcpy(into, value);
    return NULL;
}

const char *read_flag(const char *value, void *into) {
    if (value)
        return "stands alone, without a value";
    *(bool *)into = true;
    return NULL;
}

/* Moves *cursor behind the number. */
static bool take_int(const char **cursor, int64_t *into) {
    const char *first = *cursor;
    bool fits = true;
    *into = 0;
    for (; isdigit((unsigned char)**cursor); ++*cursor)
        fits = fits && !__builtin_mul_overflow(*into, 10, into) &&
               !__builtin_add_overflow(*into, **cursor - '0', into);
    return fits && *cursor > first;
}

const char *read_int(const char *value, void *into) {
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

const char *read_time(const char *value, void *into) {
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

const char *read_schedule(const char *value, void *into) {
    struct schedule *schedule = into;
    free(schedule->steps); /* said twice in one line: the last one counts */
    *schedule = (struct schedule){0};
    int64_t number; /* also of the first time of steps, which is no value */
    bool always = value && !read_int(value, &number);
    bool well = always || (value && take_steps(value, schedule));
    schedule->always = always ? number : 0;
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

const char *read_kind(const char *value, void *into) {
    static const struct word KINDS[] = {{"compute", COMPUTE}, {"graphics", GRAPHICS}, {"mps", MPS}, {NULL, 0}};
    return value && look_up(KINDS, value, strlen(value), into) ? NULL : "is compute, graphics or mps";
}

const char *read_mig(const char *value, void *into) {
    static const struct word MODES[] = {
        {"unsupported", MIG_UNSUPPORTED}, {"disabled", MIG_DISABLED}, {"enabled", MIG_ENABLED}, {NULL, 0}};
    return value && look_up(MODES, value, strlen(value), into) ? NULL : "is unsupported, disabled or enabled";
}

const char *read_accounting(const char *value, void *into) {
    static const struct word MODES[] = {{"disabled", ACCOUNTING_DISABLED},
                                        {"enabled", ACCOUNTING_ENABLED},
                                        {"unsupported", ACCOUNTING_UNSUPPORTED},
                                        {NULL, 0}};
    return value && look_up(MODES, value, strlen(value), into) ? NULL : "is disabled, enabled or unsupported";
}

const char *read_support(const char *value, void *into) {
    static const struct word WORDS[] = {{"supported", 1}, {"unsupported", 0}, {NULL, 0}};
    return value && look_up(WORDS, value, strlen(value), into) ? NULL : "is supported or unsupported";
}

const char *read_quirks(const char *value, void *into) {
    static const struct word QUIRKS[] = {
        {"zeros", QUIRK_ZEROS},
        {"junk", QUIRK_JUNK},
        {"wide_rows", QUIRK_WIDE_ROWS},
        {"empty_success", QUIRK_EMPTY_SUCCESS},
        {"stale_count", QUIRK_STALE_COUNT},
        {"mig_energy", QUIRK_MIG_ENERGY},
        {"slow_accounting", QUIRK_SLOW_ACCOUNTING},
        {"wild_utilization", QUIRK_WILD_UTILIZATION},
        {"odd_pids", QUIRK_ODD_PIDS},
        {"zero_rows", QUIRK_ZERO_ROWS},
        {"huge_memory", QUIRK_HUGE_MEMORY},
        {"growing_list", QUIRK_GROWING_LIST},
        {"mig_private", QUIRK_MIG_PRIVATE},
        {NULL, 0}};
    while (value && *value) {
        size_t length = strcspn(value, ",");
        int64_t quirk;
        if (!look_up(QUIRKS, value, length, &quirk))
            return "is a list of quirks, joined by commas; docs/simulator.md names them";
        *(int64_t *)into |= quirk;
        value += length + (value[length] == ',');
    }
    return NULL;
}

const char *read_error(const char *value, void *into) {
    if (value && !strncmp(value, "NVML_ERROR_", 11))
        value += 11;
    for (size_t i = 0; value && i < ERROR_TEXT_COUNT; i++)
        if (!strcmp(ERROR_TEXTS[i].name, value)) {
            *(int64_t *)into = ERROR_TEXTS[i].code;
            return NULL;
        }
    return read_int(value, into) ? "is the name of an NVML error such as GPU_IS_LOST, or its number" : NULL;
}
