/* A fake libnvidia-ml.so.1: the nouns, and who does what.
 *
 *   driver_scenario.c   reads a scenario file into a struct scenario, whole or not at all,
 *   driver_lines.c        line by line
 *   driver_mig_lines.c    and those about MIG instances,
 *   driver_words.c        cutting lines into words
 *   driver_values.c       and understanding their values
 *   driver_schedule.c   values over time, and their exact integral
 *   driver_file.c       what this process knows (driver_client.h): the scenario in force,
 *   driver_handles.c      the handles it has given out,
 *   driver_state.c        and its calls, from init to shutdown
 *   driver_faults.c     errors, delays and hangs that a scenario orders
 *   driver_processes.c  who is on a device, and when each ended
 *   driver_host.c       nvml* calls about the host: init, shutdown, versions, enumeration
 *   driver_device.c     nvml* calls about one device: who it is
 *   driver_readings.c   nvml* calls about one device: how it is
 *   driver_mig.c        nvml* calls about MIG devices
 *   driver_profiles.c   nvml* calls about what a device can be cut into, and has been
 *   driver_settings.c   what programs set, in a file that all of them share
 *   driver_accounting.c nvml* calls about what processes have used in all,
 *   driver_accounting_mode.c  and those that switch it on
 *   driver_gpm.c        nvml* calls about activity between two samples (GPM)
 *   driver_events.c     nvml* calls that wait for Xid events
 *   driver_lists.c      nvml* calls that list processes
 *   driver_samples.c    nvml* calls that read what was sampled lately
 *   driver.py           generates the rest of the header's symbols, which answer NOT_SUPPORTED
 *
 * Everything the driver says is a function of the scenario and the clock: two processes that look at
 * the same moment read the same, and a replaced scenario never loses a millijoule. All times are
 * CLOCK_BOOTTIME in nanoseconds, as in the rest of the project. */
#ifndef GPUTALLY_DRIVER_H
#define GPUTALLY_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Old and new symbols live side by side in the real library; without this the header renames ours. */
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#pragma GCC visibility push(default)
#include <nvml.h>
#pragma GCC visibility pop

enum { MAX_DEVICES = 64, MAX_INSTANCES = 16, TEXT_BYTES = 96 };
static const int64_t NEVER_NS = INT64_MAX;

typedef char text[TEXT_BYTES];

/* ---- scenario: what a file says; never changed once read ---- */

struct step {
    int64_t at_ns;
    int64_t value;
    __int128 before; /* integral of value over ns from the first step to this one */
};

/* Piecewise constant; 0 before the first step. */
struct schedule {
    int64_t always; /* the value, where there are no steps */
    struct step *steps;
    size_t count;
};

enum kind { COMPUTE, GRAPHICS, MPS };

struct process {
    int64_t pid;
    int64_t kind;
    int64_t start_ns, end_ns; /* half-open */
    struct schedule memory_bytes;
    bool memory_unavailable;
    struct schedule sm_percent;
    bool follow;
    int64_t gpu_instance, compute_instance; /* -1: none */
    int64_t older; /* index of another line of this device with this pid, or -1 */
    bool heads;    /* the first of all with this pid: `older` leads from it through the others */
    /* What follow has seen. Not part of the file; taken over into the next one. */
    int64_t asked_ns;
    int64_t seen_ns; /* the last moment at which the pid was there */
    bool gone;
};

enum accounting { ACCOUNTING_DISABLED, ACCOUNTING_ENABLED, ACCOUNTING_UNSUPPORTED };

enum mig { MIG_UNSUPPORTED, MIG_DISABLED, MIG_ENABLED };

enum quirk {
    QUIRK_ZEROS = 1,         /* process samples are padded with zeros */
    QUIRK_JUNK = 2,          /* process samples: a foreign pid, a utilization of 999, a stamp in the future */
    QUIRK_EMPTY_SUCCESS = 4, /* nothing new is SUCCESS with no samples, not NOT_FOUND */
    QUIRK_WIDE_ROWS = 8,     /* drivers 535.43 to 535.86: rows of 32 bytes behind the v3 symbols */
    QUIRK_STALE_COUNT = 16,  /* the size call does not yet know the newest process */
    QUIRK_MIG_ENERGY = 32,   /* a MIG device answers with the power and energy of the whole board */
    QUIRK_SLOW_ACCOUNTING = 64, /* utilization is added up each second, to those who are still there */
    QUIRK_WILD_UTILIZATION = 128, /* utilization is 37,100 %, of the device and of processes */
    QUIRK_ODD_PIDS = 256,         /* process lists have rows with pids that cannot be */
    QUIRK_ZERO_ROWS = 512,        /* process lists are padded with zeros */
    QUIRK_HUGE_MEMORY = 1024,     /* processes hold twice the memory that the device has */
    QUIRK_GROWING_LIST = 2048,    /* process lists grow by one while their caller makes room */
    QUIRK_MIG_PRIVATE = 4096,     /* a cut device tells nobody who is on it, only its MIG devices do */
};

/* A compute instance, which is what a MIG device is. A GPU instance is there while one of its is. */
struct instance {
    text uuid, name;
    int64_t gpu_instance, compute_instance;
    int64_t index;                                   /* among the MIG devices of its GPU */
    int64_t compute_slices, gpu_slices;              /* of this, and of its GPU instance */
    int64_t memory_slices, placement, memory_bytes;  /* of its GPU instance */
    int64_t multiprocessors;
    struct schedule utilization, sm_utilization;
    int64_t generation; /* another one: destroyed and created again */
};

struct device {
    text uuid, name, serial, bus;
    int64_t minor;
    int64_t memory_bytes, reserved_bytes, unlisted_bytes;
    struct schedule utilization, sm_utilization, memory_utilization, power_mw, temperature_c;
    bool utilization_unsupported;
    int64_t energy; /* 0: there is no counter */
    int64_t energy_origin_ns;
    struct schedule energy_steps_mj; /* what the counter is set to, when */
    int64_t mig;
    int64_t accounting; /* when the driver is loaded; a program may set it then */
    int64_t gpm; /* 1, 0, or -1 where the name decides */
    int64_t quirks;
    int64_t generation; /* counts returns from the dead */
    bool lost;
    int64_t mig_compute_slices, mig_memory_slices, multiprocessors; /* in all */
    struct instance *instances;
    size_t instance_count;
    struct process *processes;
    size_t process_count;
};

enum { ALL_DEVICES = -1, NO_DEVICE = -2 };

struct fault {
    text call;      /* exact, without its version, or a prefix with a star */
    int64_t device; /* index in the scenario, or ALL_DEVICES */
    int64_t gpu_instance, compute_instance; /* of the one MIG device that suffers, or -1 */
    int64_t error;  /* 0: answers as usual */
    int64_t delay_ns;
    bool hang;
    int64_t from_ns, until_ns;
};

struct xid {
    int64_t device; /* index in the scenario */
    int64_t code, at_ns;
    int64_t gpu_instance, compute_instance; /* -1: of the whole device */
};

struct driver {
    bool told; /* the file has a driver line */
    bool missing;
    int64_t epoch;
    text version; /* of the kernel module */
    text library; /* of the user-space library on disk; empty: the same */
    text nvml;
    int64_t cuda;
};

struct scenario {
    struct driver driver;
    int64_t written_ns; /* when the file was */
    int64_t sample_period_ns;
    struct device devices[MAX_DEVICES];
    size_t device_count;
    struct fault *faults;
    size_t fault_count;
    struct xid *xids;
    size_t xid_count;
};

/* NULL when the file cannot be read or any line of it is wrong; `why` then says which and what. */
struct scenario *read_scenario(const char *path, char *why, size_t why_bytes);
void free_scenario(struct scenario *scenario);

/* ---- schedule ---- */

void prepare_schedule(struct schedule *schedule);
/* The last step that has begun, or NULL. */
const struct step *step_at(const struct schedule *schedule, int64_t at_ns);
int64_t value_at(const struct schedule *schedule, int64_t at_ns);
/* Integral from the first step until at_ns. The difference of two is exact. */
__int128 integral_until(const struct schedule *schedule, int64_t at_ns);
/* The largest value in [from_ns, until_ns). */
int64_t most_between(const struct schedule *schedule, int64_t from_ns, int64_t until_ns);

/* ---- state ---- */

/* Behind a handle of a MIG device or a GPU instance. It may come to stand for another, once that is asked for. */
struct part {
    bool taken;
    int64_t gpu_instance, compute_instance, generation;
};

/* A handle stays at one address for the life of the process, as callers keep copies of it. */
struct slot {
    text uuid;
    int64_t generation;
    bool lost; /* sticky: only a new init sees a returned device */
    int device; /* index in the scenario in force, or NO_DEVICE */
    struct part mig[MAX_INSTANCES];           /* by index */
    struct part gpu_instances[MAX_INSTANCES]; /* in the order in which they were asked for */
};

/* One call from outside. Opened calls hold the lock; close_call gives it back. */
struct call {
    const char *function;
    const struct scenario *scenario;
    struct device *device; /* NULL in calls about the host */
    const struct instance *instance; /* NULL in calls about a whole device */
    struct slot *slot;
    const struct part *part;
    int64_t now_ns;
};

/* SUCCESS, or the answer to give. Always followed by close_call, whatever was answered. */
nvmlReturn_t open_call(struct call *call, const char *function);
nvmlReturn_t open_device_call(struct call *call, const char *function, nvmlDevice_t handle);
/* Takes MIG devices too; most functions answer NOT_SUPPORTED for them. */
nvmlReturn_t open_any_call(struct call *call, const char *function, nvmlDevice_t handle);
/* The same two, that refuse a missing out-parameter. */
nvmlReturn_t open_asking(struct call *call, const char *function, nvmlDevice_t handle, const void *into);
nvmlReturn_t open_any_asking(struct call *call, const char *function, nvmlDevice_t handle, const void *into);
nvmlReturn_t open_gpu_instance_call(struct call *call, const char *function, nvmlGpuInstance_t handle);
nvmlReturn_t close_call(nvmlReturn_t answer);
/* Does the driver still stand, after a pause? */
nvmlReturn_t check_again(void);

/* Enumeration; on SUCCESS the call is about that device. NULL when there is none. */
nvmlReturn_t open_index_call(struct call *call, const char *function, unsigned int index);
nvmlReturn_t open_match_call(struct call *call, const char *function, bool (*same)(const struct device *, const char *),
                             const char *wanted);
nvmlDevice_t mig_handle(const struct call *call, const struct instance *instance);
nvmlGpuInstance_t gpu_instance_handle(const struct call *call, const struct instance *instance);

nvmlReturn_t initialise(const char *function);
nvmlReturn_t shut_down(const char *function);
unsigned int slot_count(void);
unsigned int slot_index(const struct slot *slot);

/* Lets go of the lock for that long, and brings call->now_ns and call->scenario up to date. */
void pause_call(struct call *call, int64_t pause_ns);
int64_t clock_ns(int clock);

/* Both clocks at one moment, however busy the machine is. */
struct moment {
    int64_t boot_ns, wall_ns;
};
struct moment moment_now(void);

/* ---- readings ---- */

enum { WILD_PERCENT = 37100 };

bool has_utilization(const struct device *device);

/* ---- faults ---- */

nvmlReturn_t suffer(struct call *call);

/* ---- processes ---- */

bool is_here(struct process *process, int64_t now_ns);
/* It follows its pid, and that has ended. */
bool is_gone(struct process *process, int64_t now_ns);
/* When it left, or will; of one that follows the last moment at which its pid was seen. */
int64_t end_of(const struct process *process);
/* Joins lines with the same pid. False without memory. */
bool join_pids(struct device *device);
/* What follow saw in the scenario before holds in this one too. */
void take_over_seen(struct scenario *scenario, const struct scenario *before);
bool is_within(const struct process *process, const struct instance *instance);
/* In the instance, or where that is NULL on the whole device. */
int64_t used_bytes(struct device *device, const struct instance *instance, int64_t now_ns);

/* ---- settings ---- */

/* What a program has set on a device. Holds for the driver epoch in which it was set. */
struct setting {
    text uuid;
    int64_t accounting, epoch;
    int64_t since_ns;   /* when accounting was switched on */
    int64_t cleared_ns; /* when the ended were forgotten */
};

struct settings {
    int64_t wall_minus_boot_ns; /* the same for all programs, so that a start is the same to the microsecond */
    size_t count;
    struct setting rows[MAX_DEVICES];
};

void load_settings(struct settings *settings);
/* Calls `change` with what is in the file, and writes it back before anybody else can. */
bool change_settings(void (*change)(struct settings *settings, const struct call *call, int64_t value),
                     const struct call *call, int64_t value);

/* ---- events ---- */

/* After the last shutdown no event set is good any more. */
void forget_event_sets(void);

/* ---- generated from the header by driver.py ---- */

struct error_text {
    nvmlReturn_t code;
    const char *name; /* without NVML_ERROR_ */
    const char *words;
};
extern const struct error_text ERROR_TEXTS[];
extern const size_t ERROR_TEXT_COUNT;

/* What the header declares and no file here simulates. */
nvmlReturn_t unsimulated(const char *function);
nvmlReturn_t unsimulated_device(const char *function, nvmlDevice_t handle);

#endif
