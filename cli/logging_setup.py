"""Where log lines go: standard error, one line each; systemd adds the time and the host."""

import logging
import os
import sys


def log_to_stderr(verbose: bool = False) -> None:
    """Under systemd the time is the journal's, so it is left out."""
    when = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format=f"{when}%(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
