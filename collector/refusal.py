"""Why the collector does not start."""

from ..model.exits import Exit


class CannotStart(Exception):
    """Why the collector does not start: one or more lines for the operator, and the exit code."""

    def __init__(self, code: Exit, why: str) -> None:
        super().__init__(why)
        self.code = code
