"""What the processes' exit codes mean. The numbers are those of sysexits(3); a wrong command line is click's 2."""

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    BROKEN = 1
    """What was verified is not what its host wrote."""
    REFUSED = 65
    """The collector refused the question, or the daemon the request."""
    NO_INPUT = 66
    """A file or a device that was named is not there, or is not what it should be."""
    UNAVAILABLE = 69
    """Nobody answers at an address, or somebody else has it."""
    SOFTWARE = 70
    """A part crashed more often than it may: a defect of ours."""
    IO = 74
    """The disk failed, or is full."""
    NOT_YET = 75
    """It was begun and is not over: ask again."""
    NO_PERMISSION = 77
    """The daemon does not do this for whoever asked."""
    CONFIG = 78
    """The configuration is wrong: another start would not help, so systemd does not try."""
