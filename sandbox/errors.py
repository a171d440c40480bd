"""The one kind of error that is shown to people."""


class SandboxError(Exception):
    """A problem for the operator, with its remedy.

    Args:
        problem: what is wrong, naming the host, port, file or program.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  -> {remedy}")
