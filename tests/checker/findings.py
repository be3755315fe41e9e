"""What the checker raises when a vector says something else than SPEC.md."""


class Disagreement(Exception):  # noqa: N818 - a finding, not a fault
    """The vector says one thing, SPEC.md another."""


def agree(what: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise Disagreement(f"{what}: SPEC.md leads to {ours!r:.300}, the vector has {theirs!r:.300}")
