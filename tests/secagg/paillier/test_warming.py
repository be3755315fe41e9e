"""After `warm_up` nothing that Paillier does compiles or loads a loop: counted, not timed."""

from __future__ import annotations

from tests.processes import python

SCRIPT = """
import itertools
import sys
import numpy as np
from secagg import paillier
from secagg.paillier import Accumulator, Lanes, NoisePool, ShortExponents, combine, decrypt, encrypt_and_prove
from secagg.paillier import check_knowledge, montgomery, open_partially
from tests.secagg.paillier.fixed_keys import dealt, private_key

def loaded():
    module = sys.modules.get("secagg.paillier._montgomery_kernels")
    return {name: len(loop.signatures) for name, loop in vars(module or sys).items() if hasattr(loop, "signatures")}

if sys.argv[1] == "warm":
    paillier.warm_up()
before = loaded()
montgomery.WORTH = 0
key, lanes = private_key(256), Lanes(256, 20, 30)
public, shares = dealt(2, 3, 256)
source = ShortExponents(public.public_key)
source.draws(1000)
vector, proof = encrypt_and_prove(np.arange(30, dtype=np.uint32), lanes, NoisePool(source), context=b"")
check_knowledge(vector, public.public_key, lanes, proof, context=b"", times=1000)
with Accumulator(public.public_key, lanes, max_addends=9) as total:
    assert total.add_batch({1: vector, 2: vector}) == {}
    product = total.product()
said = {share.member: open_partially(share, product, lanes, context=b"") for share in shares[:2]}
opened = combine(public, product, lanes, said, context=b"")
assert (lanes.unpack(opened.plaintexts, public.public_key.n) == 2 * np.arange(30)).all()
decrypt(product, lanes, key)
assert before or sys.argv[1] == "cold" or montgomery.montgomery(2**127 - 1, 1) is None
print("the same" if before == loaded() else "more")
"""


def test_nothing_more_is_loaded() -> None:
    assert python("-c", SCRIPT, "warm").strip() == "the same"


def test_the_count_sees_what_is_loaded() -> None:
    from secagg.paillier._limb_rows import fastest

    assert python("-c", SCRIPT, "cold").strip() == ("the same" if fastest() is None else "more")
