"""Whose a process is: cgroup shapes, one file each, and the rules of the operator."""
