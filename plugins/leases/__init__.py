"""Leases: an operator's own table of who has which devices from when to when, whether or not a process runs."""

from .source import LeaseFile

__all__ = ["LeaseFile"]
