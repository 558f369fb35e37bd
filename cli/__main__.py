"""``python -m gputally.cli``: the command, where its script is not on the path."""

from .main import entry

if __name__ == "__main__":
    entry()
