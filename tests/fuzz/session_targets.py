"""What a service tells its members of a session: terms, and parameters of a Paillier round."""

from __future__ import annotations

from protocols.paillier.written import read_parameters, write_parameters
from protocols.service.sessions import read_terms


def session_terms(data: bytes) -> None:
    terms = read_terms(data)
    if terms.encoded != data or terms.proposed is None:
        raise ValueError("terms that were read are written as others")


def paillier_parameters(data: bytes) -> None:
    if write_parameters(read_parameters(data)) != data:
        raise ValueError("parameters that were read are written as others")


TARGETS = (session_terms, paillier_parameters)
WEIGHTS = {"paillier_parameters": 0.3, "session_terms": 0.3}
