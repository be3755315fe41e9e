"""docs/spec/worked-session.md is what the library does: `python -m tests.test_worked_session` writes it anew."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from protocols import Client, ClientPolicy, IntegerVector, Participants, RoundConfig, Server, ThreatModel
from protocols.core import framing
from protocols.masking import derivations
from secagg.prg import keystream
from secagg.residues import unpack

PAGE = Path(__file__).parents[1] / "docs/spec/worked-session.md"
NAMES = Participants(["ann", "bob", "cat"])
INPUTS = {"ann": [1, 2], "bob": [3, 4], "cat": [5, 6]}
HEAD = """# A worked session

Three clients, a curious server, the complete graph, one vector of two integers; cat vanishes before it sends its input.
Each party takes the bytes that it draws from SHAKE-256 of `worked session/NAME`, one after another from the start. The
server takes its nonce (32). A client takes its cipher key, its mask key and its self-mask seed (32 each), then the
coefficients of the seed's shares and of the mask key's (4 bytes each, a secret's all at once, those of x first), then a
nonce for each neighbour in ascending order (12). Whoever implements the protocol can compare every value. A test
recomputes this page.
"""


def source(name: str) -> Callable[[int], bytes]:
    stream, at = hashlib.shake_256(f"worked session/{name}".encode()).digest(1 << 16), 0

    def random(size: int) -> bytes:
        nonlocal at
        at += size
        return stream[at - size : at]

    return random


def shown(data: bytes) -> str:
    """A message: its length, the SHA-256 of its body, and its body, cut where it is long."""
    body = data[framing.HEADER_BYTES :].hex()
    cut = body if len(body) <= 240 else f"{body[:160]}...{body[-40:]}"
    digest = hashlib.sha256(data[framing.HEADER_BYTES :]).hexdigest()
    return f"{len(data)} bytes, body SHA-256 {digest}\n    {cut}"


def rendered() -> str:
    config = RoundConfig(ThreatModel(3, dropout_fraction=0.34), (IntegerVector("votes", 2, max_value=7),))
    server = Server(config, NAMES, random=source("server"), threads=1)
    clients = {name: Client(policy=ClientPolicy.permissive(), random=source(name), threads=1) for name in NAMES}
    topology = config.topology
    lines = [
        HEAD,
        "## What follows from the configuration\n",
        "```text",
        f"config (MessagePack)  {msgspec.msgpack.encode(config).hex()}",
        f"degree, threshold     {topology.degree}, {topology.threshold}",
        f"modulus bits          {config.codecs[0].modulus_bits}",
        f"session id            {server.session_id.hex()}",
        "```\n",
    ]
    secrets: dict[str, tuple[bytes, bytes]] = {}
    while not server.ended:
        phase = str(server.phase)
        lines += [f"## Phase {phase}\n", "```text"]
        for name, message in server.outgoing().items():
            if (name, phase) == ("cat", "masked-input"):
                lines += ["", "cat is sent its shares, and vanishes"]
                continue
            answer = clients[name].respond(message, {"votes": np.array(INPUTS[name])})
            server.receive(name, answer)
            if phase == "advertise-keys":
                state = clients[name]._memory.state
                secrets[name] = state.self_mask_seed, state.mask_private_key
            lines += ["", f"server to {name}: {shown(message)}", f"{name} to server: {shown(answer)}"]
        lines += ["```\n"]
        if phase == "masked-input":
            lines += _masks(server, secrets, config.codecs[0].modulus_bits)
        server.close_phase()
    result = server.result
    lines += [
        "## The sum\n",
        "```text",
        f"survivors  {', '.join(sorted(result.survivors))}",
        f"votes      {result.sum('votes').tolist()}",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _masks(server: Server, secrets: dict[str, tuple[bytes, bytes]], bits: int) -> list[str]:
    """The masks in ann's input: her own, plus bob's and cat's, since her number is the lowest."""
    from secagg.key_agreement import KeyPair

    keys = {name: KeyPair(private) for name, (_, private) in secrets.items()}
    session_id = server.session_id
    seeds = {"self mask": derivations.self_mask_stream_seed(session_id, 1, secrets["ann"][0])}
    for other in ("bob", "cat"):
        agreed = keys["ann"].agree(keys[other].public_bytes)
        ends = ((1, keys["ann"].public_bytes), (NAMES.number(other), keys[other].public_bytes))
        seeds[f"pairwise mask with {other}"] = derivations.pairwise_mask_seed(agreed, session_id, *ends)
    lines, total = ["## The masks of ann\n", "```text"], np.array(INPUTS["ann"], dtype=np.uint32)
    for what, seed in seeds.items():
        stream = np.frombuffer(keystream(seed, 8), dtype="<u4")
        total += stream
        lines.append(f"{what:22} seed {seed.hex()}  words {[int(word) for word in stream]}")
    lines.append(f"masked input mod 2^{bits}: {[int(word) % (1 << bits) for word in total]}")
    return [*lines, "```\n"]


def test_the_worked_session_is_what_the_library_does():
    assert PAGE.read_text() == rendered()
    assert "votes      [4, 6]" in PAGE.read_text()


def test_the_masks_that_are_shown_are_those_of_the_input():
    """ann's packed input, as the page has it, is its votes and the three streams."""
    text = rendered()
    masked = text.partition("masked input mod 2^")[2].partition("\n")[0]
    bits, values = int(masked.partition(":")[0]), [int(x) for x in masked.partition("[")[2].strip("]").split(", ")]
    sent = text.partition("## Phase masked-input")[2].partition("ann to server: ")[2].splitlines()[1].strip()
    packed = msgspec.msgpack.decode(bytes.fromhex(sent))[3][0]
    assert unpack(packed, bits, 2).tolist() == values


if __name__ == "__main__":
    PAGE.write_text(rendered())
