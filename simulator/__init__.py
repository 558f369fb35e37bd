"""A GPU host you can hold in your hand: a fake driver in C, workloads, scenarios."""
