"""The one kind of error that people get to see."""


class SandboxError(Exception):
    """Something the operator has to know, with what to do about it.

    Args:
        problem: what is wrong, naming the host, port, file or program.
        remedy: what makes it right.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  -> {remedy}")
