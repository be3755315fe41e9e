"""Which codec serves which private vector: a file a kind."""

from __future__ import annotations

from secagg.errors import ParameterError

from .noisy_counts import NoisyCounts
from .noisy_floats import NoisyFloats
from .noisy_votes import NoisyVotes
from .vectors import PrivateCounts, PrivateSpec, PrivateVector

Noisy = NoisyFloats | NoisyCounts | NoisyVotes


def private_codec_of(spec: PrivateSpec, num_clients: int, others: tuple[object, ...] = ()) -> Noisy:
    """Return the codec of a private vector; raise ParameterError where no encoding serves it.

    Args:
        spec: of the vector.
        num_clients: how many are summed at most.
        others: the round's vectors, among which votes find the one that they are on.
    """
    if isinstance(spec, PrivateVector):
        return NoisyFloats(spec, num_clients)
    if isinstance(spec, PrivateCounts):
        return NoisyCounts(spec, num_clients)
    for other in others:
        if isinstance(other, PrivateVector) and other.name == spec.of:
            return NoisyVotes(spec, num_clients, other)
    raise ParameterError(f"the votes {spec.name!r} are on {spec.of!r}, which is no private vector of the round")
