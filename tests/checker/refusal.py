"""What the checker raises when SPEC.md says that something is refused."""


class Refused(Exception):  # noqa: N818 - a verdict, not a fault
    """A refusal: the name of the error of SPEC section 10, and who is to blame."""

    def __init__(self, error: str, culprits: tuple[int, ...] = ()) -> None:
        super().__init__(error, culprits)
        self.error, self.culprits = error, sorted(culprits)


def require(condition: object, error: str, *culprits: int) -> None:
    if not condition:
        raise Refused(error, culprits)
