"""gputally: who used what GPU, and for how long, so exactly that money can rest on it.

The repository's root is this package; ``src/gputally`` joins the rooms
(``model``, ``storage``, ``daemon``, ...) to it by symbolic links and by nothing else.
"""

__version__ = "0.1.0"
