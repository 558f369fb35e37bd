/* What the two files about accounting share. */
#ifndef GPUTALLY_DRIVER_ACCOUNTING_H
#define GPUTALLY_DRIVER_ACCOUNTING_H

#include "driver.h"

/* What holds on the device of the call: what a program has set, or what it was when the driver was loaded. */
struct setting setting_of(const struct call *call, struct settings *settings);
bool can_account(const struct call *call);

#endif
