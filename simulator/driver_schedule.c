/* Values over time in steps, and their integral without a rounding.
 *
 * The integral up to each step is summed once when a scenario is read, so that energy costs a binary
 * search however long the device has been running, and never depends on who asked when. */
#include "driver.h"

void prepare_schedule(struct schedule *schedule) {
    for (size_t i = 0; i < schedule->count; i++) {
        struct step *step = &schedule->steps[i];
        step->before = i ? step[-1].before + (__int128)step[-1].value * (step->at_ns - step[-1].at_ns) : 0;
    }
}

const struct step *step_at(const struct schedule *schedule, int64_t at_ns) {
    size_t low = 0, high = schedule->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (schedule->steps[middle].at_ns <= at_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &schedule->steps[low - 1] : NULL;
}

int64_t value_at(const struct schedule *schedule, int64_t at_ns) {
    if (!schedule->count)
        return schedule->always;
    const struct step *step = step_at(schedule, at_ns);
    return step ? step->value : 0;
}

__int128 integral_until(const struct schedule *schedule, int64_t at_ns) {
    if (!schedule->count)
        return (__int128)schedule->always * at_ns;
    const struct step *step = step_at(schedule, at_ns);
    return step ? step->before + (__int128)step->value * (at_ns - step->at_ns) : 0;
}

int64_t most_between(const struct schedule *schedule, int64_t from_ns, int64_t until_ns) {
    int64_t most = value_at(schedule, from_ns);
    for (size_t i = 0; i < schedule->count && schedule->steps[i].at_ns < until_ns; i++)
        if (schedule->steps[i].at_ns > from_ns && schedule->steps[i].value > most)
            most = schedule->steps[i].value;
    return most;
}
