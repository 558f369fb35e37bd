/* What this process knows of the host: the scenario in force, and what it saw when it initialised.
 *
 * One lock around everything: calls take well under a microsecond, so nobody waits long, and a
 * scenario can be replaced and freed with no reader left behind. Only delays and hangs let go of it. */
#define _GNU_SOURCE
#include "driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const int64_t LOOK_EVERY_NS = 5000000;

struct file_identity {
    struct timespec changed;
    ino_t inode;
    off_t bytes;
};

static struct {
    pthread_mutex_t lock;
    char path[4096];
    struct scenario *scenario; /* NULL until a file was understood */
    struct file_identity seen;
    int64_t looked_ns;
    unsigned int references; /* of nvmlInit */
    int64_t epoch;           /* of the driver we initialised on */
    text library;            /* the version this process has loaded: of the first scenario it saw */
    struct slot slots[MAX_DEVICES];
    unsigned int slot_count;
} client = {.lock = PTHREAD_MUTEX_INITIALIZER};

int64_t clock_ns(int clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- the file ---- */

static int device_with(const struct scenario *scenario, const char *uuid) {
    for (size_t i = 0; i < scenario->device_count; i++)
        if (!strcmp(scenario->devices[i].uuid, uuid))
            return (int)i;
    return NO_DEVICE;
}

/* Once lost, always lost, until somebody initialises anew. */
static void remap(struct slot *slot) {
    slot->device = device_with(client.scenario, slot->uuid);
    const struct device *device = slot->device < 0 ? NULL : &client.scenario->devices[slot->device];
    slot->lost = slot->lost || !device || device->lost || device->generation != slot->generation;
}

static const char *library_on_disk(const struct driver *driver) {
    return *driver->library ? driver->library : driver->version;
}

/* The clock of scenarios when the file was written; the wall clock may have been set since. */
static int64_t written_ns(void) {
    int64_t wall_ns = (int64_t)client.seen.changed.tv_sec * 1000000000 + client.seen.changed.tv_nsec;
    int64_t age_ns = clock_ns(CLOCK_REALTIME) - wall_ns;
    return clock_ns(CLOCK_BOOTTIME) - (age_ns > 0 ? age_ns : 0);
}

static void install(struct scenario *scenario) {
    scenario->written_ns = written_ns();
    take_over_seen(scenario, client.scenario);
    free_scenario(client.scenario);
    client.scenario = scenario;
    for (unsigned int i = 0; i < client.slot_count; i++)
        remap(&client.slots[i]);
    if (!*client.library)
        strcpy(client.library, library_on_disk(&scenario->driver));
}

static void read_again(void) {
    char why[512];
    struct scenario *scenario = read_scenario(client.path, why, sizeof why);
    if (scenario)
        install(scenario);
    else
        fprintf(stderr, "gputally simulator: %s; %s\n", why,
                client.scenario ? "the scenario before stays in force" : "no driver until it is right");
}

static bool same_file(const struct file_identity *a, const struct file_identity *b) {
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
           a->inode == b->inode && a->bytes == b->bytes;
}

/* A file that is gone changes nothing: it is about to come back under its name. */
static void look(int64_t now_ns) {
    struct stat found;
    client.looked_ns = now_ns;
    if (stat(client.path, &found))
        return;
    struct file_identity identity = {found.st_mtim, found.st_ino, found.st_size};
    if (same_file(&identity, &client.seen))
        return;
    client.seen = identity; /* also of a broken one: it is complained about once */
    read_again();
}

static void forget_scenario(void) {
    free_scenario(client.scenario);
    client.scenario = NULL;
    client.seen = (struct file_identity){0};
    *client.library = 0; /* another file is another host */
}

/* The variable is read while nothing is initialised, so that one process can go from host to host. */
static void choose_file(void) {
    const char *path = getenv("GPUTALLY_SCENARIO");
    if (!path || strlen(path) >= sizeof client.path)
        path = "";
    if (!strcmp(path, client.path))
        return;
    forget_scenario();
    strcpy(client.path, path);
}

/* ---- calls ---- */

static void bring_up_to_date(struct call *call, bool at_once) {
    call->now_ns = clock_ns(CLOCK_BOOTTIME);
    if (!client.references)
        choose_file();
    if (at_once || call->now_ns - client.looked_ns >= LOOK_EVERY_NS)
        look(call->now_ns);
    call->scenario = client.scenario;
    /* The one place that drops const: devices change in nothing but what follow has seen. */
    int index = call->slot ? call->slot->device : NO_DEVICE;
    call->device = index < 0 ? NULL : &client.scenario->devices[index];
}

static void begin(struct call *call, const char *function, bool at_once) {
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

/* What a call meets before it is looked at: orders of the scenario, then the state of the driver. */
static nvmlReturn_t admit(struct call *call) {
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

/* Anything but the address of a slot in use is no handle of ours. */
static struct slot *slot_of(nvmlDevice_t handle) {
    uintptr_t offset = (uintptr_t)handle - (uintptr_t)client.slots;
    bool ours = offset % sizeof(struct slot) == 0 && offset / sizeof(struct slot) < client.slot_count;
    return ours ? (struct slot *)(void *)handle : NULL;
}

static nvmlReturn_t admit_device(struct call *call, struct slot *slot) {
    call->slot = slot;
    call->device = slot && slot->device >= 0 ? &client.scenario->devices[slot->device] : NULL;
    nvmlReturn_t answer = admit(call);
    if (answer != NVML_SUCCESS)
        return answer;
    if (!slot)
        return NVML_ERROR_INVALID_ARGUMENT;
    return slot->lost ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}

nvmlReturn_t open_device_call(struct call *call, const char *function, nvmlDevice_t handle) {
    begin(call, function, false);
    return admit_device(call, slot_of(handle));
}

nvmlReturn_t open_index_call(struct call *call, const char *function, unsigned int index) {
    begin(call, function, false);
    return admit_device(call, index < client.slot_count ? &client.slots[index] : NULL);
}

static struct slot *slot_with(bool (*same)(const struct device *, const char *), const char *wanted) {
    for (unsigned int i = 0; i < client.slot_count; i++)
        if (client.slots[i].device >= 0 && same(&client.scenario->devices[client.slots[i].device], wanted))
            return &client.slots[i];
    return NULL;
}

nvmlReturn_t open_match_call(struct call *call, const char *function,
                             bool (*same)(const struct device *, const char *), const char *wanted) {
    begin(call, function, false);
    struct slot *slot = wanted ? slot_with(same, wanted) : NULL;
    nvmlReturn_t answer = admit_device(call, slot);
    return answer == NVML_ERROR_INVALID_ARGUMENT && wanted ? NVML_ERROR_NOT_FOUND : answer;
}

/* ---- init and shutdown ---- */

static void take_snapshot(void) {
    client.epoch = client.scenario->driver.epoch;
    client.slot_count = (unsigned int)client.scenario->device_count;
    for (unsigned int i = 0; i < client.slot_count; i++) {
        const struct device *device = &client.scenario->devices[i];
        client.slots[i] = (struct slot){.generation = device->generation, .lost = device->lost, .device = (int)i};
        strcpy(client.slots[i].uuid, device->uuid);
    }
}

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

unsigned int slot_count(void) {
    return client.slot_count;
}

unsigned int slot_index(const struct slot *slot) {
    return (unsigned int)(slot - client.slots);
}
