"""Beginning a log anew from its own file: read without LMDB, made anew aside, put in its place."""

import lmdb

from ..model.exits import Exit
from .wal_epoch import Recovery, Renewal
from .wal_errors import LogUnusable, check_host
from .wal_files import DATA
from .wal_salvage import salvage


def renew(renewal: Renewal) -> Recovery:
    """Nobody may have the environment open. Raises LogUnusable, HostIdChanged, OSError; then nothing has changed."""
    salvaged = salvage(renewal.folder / DATA)
    try:
        if salvaged.state is not None:
            check_host(renewal.folder, salvaged.state.host_id, renewal.host_id)
        elif salvaged.other_version:
            raise LogUnusable(f"log.path {renewal.folder} was written by another version of gputally: use that one")
        return renewal.run(salvaged)
    except lmdb.Error as error:
        raise LogUnusable(f"log.path {renewal.folder}: a new epoch cannot be made: {error}", Exit.IO) from None
    finally:
        salvaged.close()
