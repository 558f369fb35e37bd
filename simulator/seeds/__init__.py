"""The whole daemon on a virtual clock, with faults drawn from a seed, and an oracle that knows the truth.

    seed --draw--> script --host--> frames in a ledger --verdict--> what is not as it should be

A *script* is a pure value: what happens to a host, its processes, its GPUs and its
collector. The *host* lives it: the real sampler, mailbox, attributor, meter,
keeper, log and protocol, with a driver, a kernel and a collector in memory, and
nothing that waits. The *truth* is worked out from the script alone. The *verdict*
compares the ledger with it, and lets the auditor look at every frame.
"""
