"""What else the cgroup tells: CPU, memory, disk and network of a workload, by its group's path."""
