"""The NVML probe: pynvml in a child process that can be killed."""
