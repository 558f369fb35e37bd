/* A call from outside, from beginning to end; the first is an init, the last a shutdown. */
#define _GNU_SOURCE
#include "driver_client.h"

#include <stdio.h>
#include <string.h>

static const int64_t LOOK_EVERY_NS = 5000000;

struct client client = {.lock = PTHREAD_MUTEX_INITIALIZER};

int64_t clock_ns(int clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct moment moment_now(void) {
    struct moment now;
    int64_t took_ns;
    int tries = 0;
    do { /* again when somebody else ran between the readings */
        int64_t before_ns = clock_ns(CLOCK_BOOTTIME);
        now.wall_ns = clock_ns(CLOCK_REALTIME);
        took_ns = clock_ns(CLOCK_BOOTTIME) - before_ns;
        now.boot_ns = before_ns + took_ns / 2;
    } while (took_ns > 10000 && ++tries < 8);
    return now;
}

static void bring_up_to_date(struct call *call, bool at_once) {
    call->now_ns = clock_ns(CLOCK_BOOTTIME);
    if (!client.references)
        choose_file();
    if (at_once || call->now_ns - client.looked_ns >= LOOK_EVERY_NS)
        look(call->now_ns);
    call->scenario = client.scenario;
    find_subject(call);
}

void begin(struct call *call, const char *function, bool at_once) {
    *call = (struct call){.function = function};
    pthread_mutex_lock(&client.lock);
    bring_up_to_date(call, at_once);
}

void pause_call(struct call *call, int64_t pause_ns) {
    struct timespec left = {pause_ns / 1000000000, pause_ns % 1000000000};
    pthread_mutex_unlock(&client.lock);
    /* A call that is stuck in the driver does not come back because a signal was handled. */
    while (nanosleep(&left, &left))
        ;
    pthread_mutex_lock(&client.lock);
    bring_up_to_date(call, false);
}

nvmlReturn_t close_call(nvmlReturn_t answer) {
    pthread_mutex_unlock(&client.lock);
    return answer;
}

/* Said once for each path, as programs try again and again. */
static void complain_of_nothing(void) {
    static char told[sizeof client.path] = "?";
    if (client.scenario || client.seen.inode || !strcmp(told, client.path))
        return;
    strcpy(told, client.path);
    fprintf(stderr, "gputally simulator: %s%s\n", client.path,
            *client.path ? ": no such scenario, so there is no driver" : "GPUTALLY_SCENARIO names no scenario");
}

/* Is there a kernel module, and is it the one our library was made for? */
static nvmlReturn_t driver_answer(void) {
    if (!client.scenario || client.scenario->driver.missing)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    if (strcmp(client.library, client.scenario->driver.version))
        return NVML_ERROR_LIB_RM_VERSION_MISMATCH;
    return NVML_SUCCESS;
}

nvmlReturn_t admit(struct call *call) {
    nvmlReturn_t answer = client.references ? suffer(call) : NVML_ERROR_UNINITIALIZED;
    if (!client.references) /* shut down by another thread while this one hung */
        return NVML_ERROR_UNINITIALIZED;
    if (answer == NVML_SUCCESS)
        answer = driver_answer();
    if (answer == NVML_SUCCESS && client.scenario->driver.epoch != client.epoch)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    return answer;
}

nvmlReturn_t open_call(struct call *call, const char *function) {
    begin(call, function, false);
    return admit(call);
}

/* ---- init and shutdown ---- */

nvmlReturn_t initialise(const char *function) {
    struct call call;
    begin(&call, function, true);
    complain_of_nothing();
    nvmlReturn_t answer = suffer(&call);
    if (answer == NVML_SUCCESS)
        answer = driver_answer();
    if (answer == NVML_SUCCESS && client.references++ == 0)
        take_snapshot();
    return close_call(answer);
}

/* Works whatever has become of the driver: letting go must always be possible. */
nvmlReturn_t shut_down(const char *function) {
    struct call call;
    begin(&call, function, false);
    nvmlReturn_t answer = client.references ? suffer(&call) : NVML_ERROR_UNINITIALIZED;
    if (answer == NVML_SUCCESS && client.references && --client.references == 0)
        client.slot_count = 0;
    return close_call(answer);
}
