/* What this process knows of the host. Only driver_file.c, driver_handles.c and driver_state.c look in here.
 *
 * One lock around everything: calls take well under a microsecond, so nobody waits long, and a
 * scenario can be replaced and freed with no reader left behind. Only delays and hangs let go of it. */
#ifndef GPUTALLY_DRIVER_CLIENT_H
#define GPUTALLY_DRIVER_CLIENT_H

#include <pthread.h>
#include <sys/types.h>
#include <time.h>

#include "driver.h"

struct file_identity {
    struct timespec changed;
    ino_t inode;
    off_t bytes;
};

struct client {
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
};
extern struct client client;

/* Takes up the scenario that is in the file now, if it is another one. */
void look(int64_t now_ns);
/* Goes to the host that the environment names. */
void choose_file(void);

void begin(struct call *call, const char *function, bool at_once);
/* What a call meets before it is looked at: orders of the scenario, then the state of the driver. */
nvmlReturn_t admit(struct call *call);
/* Finds device and instance of the call in the scenario in force. */
void find_subject(struct call *call);
void take_snapshot(void);

#endif
