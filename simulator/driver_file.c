/* The scenario in force: which file it is, and when it is read again. */
#define _GNU_SOURCE
#include "driver_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    struct moment now = moment_now();
    return now.boot_ns - (now.wall_ns > wall_ns ? now.wall_ns - wall_ns : 0);
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
void look(int64_t now_ns) {
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
void choose_file(void) {
    const char *path = getenv("GPUTALLY_SCENARIO");
    if (!path || strlen(path) >= sizeof client.path)
        path = "";
    if (!strcmp(path, client.path))
        return;
    forget_scenario();
    strcpy(client.path, path);
}
