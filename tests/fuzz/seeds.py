"""What the fuzzer starts from: valid messages, dumps and keys, from the vectors of whole sessions."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from protocols.core import dumps, framing
from protocols.core.identity_files import write_identity, write_participants
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.groups import PastDraws
from protocols.inputs.vectors import FloatVector, PrivateCounts, PrivateVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.messages import Invitation
from protocols.paillier.files import write_key, write_share
from protocols.paillier.parameters import RoundParameters
from protocols.paillier.written import write_parameters
from protocols.service.sessions import Kind, SessionSpec
from protocols.simulation.driver import Crossing
from protocols.statistics.journal import Journal, named_rows
from protocols.statistics.partitions import Partition
from protocols.statistics.plan import Plan
from protocols.statistics.query_file import query_from_toml
from secagg.encoding import FixedPoint
from secagg.paillier import PublicKey
from secagg.randomness import RandomBytes
from tests.protocols.masking.harness import Session, identity, small_config
from tests.secagg.paillier.fixed_keys import dealt, private_key
from tests.vectors import paillier as paillier_rounds
from tests.vectors.generate import VECTORS

from . import group_targets, hierarchy_targets, ledger_targets
from .file_targets import dealt_once

TOML = """
dataset = "d"
group_by = "sex"
where = [{column = "age", operator = "ge", constant = 18}]
statistics = [{kind = "mean", columns = ["age"]}, {kind = "quantiles", columns = ["age"], quantiles = [0.5]}]
[columns]
age = {lo = 0, hi = 120, bins = 4}
sex = {levels = ["f", "m"]}
"""
DEEP = b"[" * 2000


@cache
def vector(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return loaded


class Exchange(NamedTuple):
    """A phase of a masked session: client 1 and the server before it, as dumps, and two of its messages."""

    client: bytes
    server: bytes
    to_client_1: bytes
    from_client_3: bytes


@cache
def masked_session() -> tuple[Session, list[Exchange]]:
    """A session against a malicious server, each time the same: the corpus has messages that fit its dumps."""

    def random(name: str) -> RandomBytes:
        draws = itertools.count()
        return lambda size: hashlib.shake_256(f"{name} {next(draws)}".encode()).digest(size)

    messages: dict[tuple[str, bool], bytes] = {}

    def keep(crossing: Crossing) -> bytes:
        messages[crossing.name, crossing.to_coordinator] = crossing.data
        return crossing.data

    config = small_config(6, Adversary.MALICIOUS_SERVER, dropout=0.2, max_weight=10)
    session, exchanges = Session(config, wire=keep, random=random), []
    while not session.server.ended:
        before = session.client(1).dump(), session.server.dump()
        session.step(silent={4} if session.server.phase == "masked-input" else ())
        exchanges.append(Exchange(*before, messages["client-1", False], messages["client-3", True]))
    return session, exchanges


def _private_round() -> RoundConfig:
    """A round with both private kinds of vectors."""
    model = ThreatModel(8, 0.0, 0.25, Adversary.MALICIOUS_SERVER)
    return RoundConfig(model, (PrivateVector("update", 16, 1.0, 64.0, 2.0), PrivateCounts("votes", 3, 1, 4, 2.0)))


def seeds() -> dict[str, list[bytes]]:
    """Target -> valid inputs; Flower's are among them where Flower is."""
    flower = flower_seeds() if importlib.util.find_spec("flwr") else {}
    service = session_seeds() | service_seeds()
    groups = group_seeds() | hierarchy_seeds()
    return core_seeds() | file_seeds() | groups | ledger_seeds() | service | statistics_seeds() | flower


def service_seeds() -> dict[str, list[bytes]]:
    """Signed requests, forms, answers, and files of members and operators."""
    from .service_targets import seeds

    return seeds()


def core_seeds() -> dict[str, list[bytes]]:
    """Valid messages, dumps and keys, from the vectors of whole sessions."""
    found: dict[str, list[bytes]] = {}
    _, exchanges = masked_session()

    def add(target: str, data: bytes) -> None:
        found.setdefault(target, []).append(data)

    for at, each in enumerate(exchanges):
        down, up = each.to_client_1[framing.HEADER_BYTES :], each.from_client_3[framing.HEADER_BYTES :]
        add("message_body", down)
        add("message_body", up)
        add("client_answer", bytes([at]) + down)
        add("server_receive", bytes([at]) + up)
        add("client_dump", each.client[dumps.HEADER_BYTES :])
    coloured = exchanges[3].from_client_3[framing.HEADER_BYTES :].replace(b"masked-input", b"masked-\x1b[31m")
    add("message_body", coloured)
    add("server_receive", b"\3" + coloured)
    private = wire.encode(Invitation(1, _private_round(), bytes(32)))[framing.HEADER_BYTES :]
    add("message_body", private)
    add("client_answer", b"\0" + private)
    add("message_bytes", exchanges[3].from_client_3)
    add("dump_bytes", exchanges[0].client)
    for each in (exchanges[0], exchanges[-1]):
        add("server_dump", each.server[dumps.HEADER_BYTES :])
    add("unpack", struct.pack("<HH", 13, 3) + bytes.fromhex("ffffffff7f"))
    add("decode_sums", struct.pack("<HH", 0x8010, 10) + bytes(16))
    shamir_case = next(
        case for case in vector("shamir")["cases"] if case["operation"] == "reconstruct" and "output" in case
    )
    shares = b"".join(index.to_bytes(4, "little") + bytes.fromhex(s) for index, s in shamir_case["input"]["shares"])
    add("shares", struct.pack("<HH", 4, 10) + shares)
    add("sealed", bytes(40))
    own = identity(1)
    add("signature", own.public_bytes + own.sign(b"fuzz"))
    add("public_key", bytes([9]) + bytes(31))
    paillier = vector("paillier-round")
    kinds = (
        "commitment",
        "commitment-list",
        "contribution",
        "endorsement",
        "invitation",
        "opening",
        "open-request",
        "reveal-request",
    )
    for each in paillier["rounds"]:
        for text in (each["request"], next(iter(each["answers"].values()))):
            if text:
                data = bytes.fromhex(text)[framing.HEADER_BYTES :]
                kind = next(i for i, name in enumerate(kinds) if f"/{name}\xa7".encode("latin-1") in data[:90])
                add("paillier_message", bytes([kind]) + data)
    run = paillier_rounds.Run(paillier)
    for _ in range(3):  # before endorsements, contributions and openings
        run.collect([], {})
        run.close()
        for at, role in enumerate((run.contributors[1], run.members[1], run.aggregator)):
            add("paillier_dump", bytes([at]) + role.dump()[dumps.HEADER_BYTES :])
    key = private_key()
    public: PublicKey = key.public_key
    add("paillier_ciphertexts", struct.pack("<HH", 20, 3) + (5).to_bytes(64, "big"))
    add("paillier_proof", (1).to_bytes(96, "big"))
    record = {"version": 1, "key": bytes(32).hex(), "member": 1, "session": bytes(32).hex()}
    for one in (record, record | {"session": "another"}, record | {"member": 2}):
        add("key_use", json.dumps(one).encode())
    add("paillier_plaintexts", struct.pack("<HH", 20, 3) + (5).to_bytes(32, "big"))
    add("public_key_json", public.to_jwk().encode())
    add("private_key_json", key.to_jwk().encode())
    return found


_SUM: dict[str, Any] = {
    **{"type": "SummedDiscreteGaussianEvent", "local_sigma": 24.5, "clients": 800, "l2_sensitivity": 129.5},
    **{"l1_sensitivity": 4145.0, "dimension": 1024, "neighbours": "add-remove"},
}
PLAN: dict[str, Any] = {
    **{"epsilon_goal": 4.0, "delta": 1e-6, "rounds": 20, "adjacency": "add-remove", "unit": "client", "event": _SUM}
}
"""What `secagg params --json` says of a plan, as far as a budget is made from it."""
SAMPLED_PLAN = PLAN | {
    "unit": "record",
    "epsilon_goal": None,
    "event": {"type": "PoissonSampled", "rate": 0.01, "event": _SUM | {"unit": "record"}},
}


def file_seeds() -> dict[str, list[bytes]]:
    """What commands read: a key, a roster, names, a period and a moment."""
    with tempfile.TemporaryDirectory() as folder:
        key, roster = Path(folder) / "key.pem", Path(folder) / "roster.json"
        write_identity(key, identity(1))
        write_participants(roster, Participants({"node-1": identity(1).public_bytes}))
        committee, share = Path(folder) / "committee.json", Path(folder) / "a.share"
        public, shares = dealt_once()
        write_key(committee, public, Participants("abc"))
        write_share(share, shares[0], "a")
        return {
            "identity_file": [key.read_bytes()],
            "roster_file": [roster.read_bytes(), DEEP],
            "dealt_key": [committee.read_bytes(), DEEP],
            "key_share": [share.read_bytes(), DEEP],
            "plan_file": [
                json.dumps({"privacy": plan}).encode() for plan in (PLAN, SAMPLED_PLAN, PLAN | {"rounds": 10**6})
            ],
            "participants_file": ["ann\n bob \n\nc\u00e9line\n".encode()],
            "command_options": [
                b"\x0030d",
                b"\x012030-12-31T18:00+01:00",
                b"\x019999-12-31T23:59-14:00",
                b"\x02masked-input=0.25",
            ],
        }


def group_seeds() -> dict[str, list[bytes]]:
    """A draw's messages, true, bent and cut short, in each phase; an empty memory, and one that is none."""
    ways = [bytes([phase]) + bent for phase in range(3) for bent in (b"", b"\0\x20\1", b"\0\x40\xff")]
    cut = [bytes([0x80 + phase]) + b"\x92" for phase in range(3)]
    client, server = group_targets.new_client("client-1"), group_targets.new_server()
    client.respond(server.outgoing()["client-1"])
    dumped = [bytes([kind]) + whose.dump()[dumps.HEADER_BYTES :] for kind, whose in ((0, server), (0x80, client))]
    return {
        "draw_dump": [*dumped, b"\0\x90"],
        "draw_client": ways + cut,
        "draw_server": ways + cut,
        "draw_memory": [PastDraws().dump()[dumps.HEADER_BYTES :], b"\x80"],
    }


def hierarchy_seeds() -> dict[str, list[bytes]]:
    """An operator's dump, and one that is none; the invitation of the level above, true, bent, and another message."""
    return {
        "operator_dump": [hierarchy_targets.dump()[dumps.HEADER_BYTES :], b"\x80"],
        "operator_answer": [b"\0", b"\0\0\x20\1", b"\0\0\x60\xff", b"\x80\x92"],
    }


def ledger_seeds() -> dict[str, list[bytes]]:
    """Amounts, heads, URLs, the payloads of a ledger, and edits of each kind that its audit finds or does not."""
    records = list(ledger_targets._known().values())
    payloads = [b"\0" + DEEP, *(bytes([at]) + record.payload.encode() for at, record in enumerate(records))]
    changed_payload = [bytes([1, row, 3, 0]) + b'"0"' for row in (0, 3, 4, 12)]
    changed_cells = [bytes([0, 3, at, at]) + b"7" for at in range(len(ledger_targets.CELLS))]
    removed = [bytes([0, 5, at, 0]) for at in (0, 10, 14, 17)]
    urls = [b"ledger.db", b"sqlite:////var/ledger.db", b"postgresql://user:secret@host:5432/database?sslmode=require"]
    urls += [b"postgresql://host/database?plugin=any", b"postgresql://ho\x1b[1mst/database"]
    return {
        "ledger_amount": [b"\x000.125", b"\xff1e-6", b"\xff-2\r"],
        "ledger_head": [b"12:" + b"0f" * 32],
        "ledger_url": urls,
        "ledger_payload": payloads,
        "ledger_trail": changed_payload + changed_cells + removed,
    }


def statistics_seeds() -> dict[str, list[bytes]]:
    """Queries of the vectors, one in TOML, a journal of two answers, a table."""
    queries = [case["output"]["bytes"] for case in vector("statistics")["cases"] if "bytes" in case.get("output", ())]
    read = [bytes.fromhex(text) for text in queries]
    codes = np.array([1, 2], dtype=np.uint32)
    parts = [Partition((), codes.clip(max=1)), Partition(("age",), codes)]
    with Journal(None).open() as journal:
        for ids in (("a", "b"), ("b", "c")):
            journal.add(journal.entry(bytes(32), {"age": "0f" * 16}, named_rows(ids), parts))
        lines = journal.added.splitlines(keepends=True)
    return {
        "statistics_query": read,
        "statistics_question": [
            msgspec.msgpack.encode([msgspec.Raw(one), 1.0, 1e-5, "record", "add-remove"]) for one in read
        ],
        "statistics_toml": [TOML.encode(), b"x = [" + DEEP],
        "statistics_journal": [b"".join(lines), lines[0][:-1]],
        "statistics_csv": [b"age,sex\n1.5,f\nNA,\n", b'age\n"1\n', b"\xff\n"],
    }


def session_seeds() -> dict[str, list[bytes]]:
    """Terms of a sum, of a question and of an encrypted sum, and the parameters of that one."""
    names = Participants.numbered(5)
    query = query_from_toml(TOML)
    parties = [
        Participants({f"{role}-{at}": bytes([kind, at] * 16) for at in range(3)}) for kind, role in enumerate("cm")
    ]
    key = dealt(2, 3, 2048)[0]
    parameters = RoundParameters(
        key, FixedPoint(1.0, 16, 5), 4, *parties, min_contributors=3, nonce=bytes(32), corrupt_members=0
    )
    specs = [
        SessionSpec("a sum", RoundConfig(ThreatModel(5), (FloatVector("v", 3),)), names),
        SessionSpec("ages", RoundConfig(ThreatModel(5), Plan(query).vectors), names, Kind.STATISTICS, query=query),
        SessionSpec("encrypted", parameters),
    ]
    return {
        "session_terms": [spec.terms.encoded for spec in specs],
        "paillier_parameters": [write_parameters(parameters)],
    }


def flower_seeds() -> dict[str, list[bytes]]:
    """Messages of the recorded session, as what they are and as Flower's records."""
    from . import flower_session as flower

    recorded, found = flower.session(), {}

    def add(target: str, data: bytes) -> None:
        found.setdefault(target, []).append(data)

    announced = flower.fields_of(recorded.asked[1])["announcement"]
    add("flower_announcement", announced)
    for at, (asked, answered) in enumerate(zip(recorded.asked, recorded.answered, strict=True)):
        down, up = flower.fields_of(asked), flower.fields_of(answered)
        if "message" in down:
            add("flower_node", bytes([at, 0]) + down["message"][framing.HEADER_BYTES :])
            add("flower_replies", bytes([at, 0]) + up["message"][framing.HEADER_BYTES :])
            add("flower_round", bytes([at, 0]) + up["message"][framing.HEADER_BYTES :])
        add("flower_node", bytes([at, 3]) + flower.to_bytes(asked))
        add("flower_replies", bytes([at, 1]) + flower.to_bytes(answered))
        add("flower_replies", bytes([at, 2]) + b"\x03\xe9secagg: refused")
        if at:
            add("flower_envelope", flower.to_bytes(answered))
    question, answer = flower.fields_of(recorded.asked[0])["ask"], flower.fields_of(recorded.answered[0])
    add("flower_node", bytes([0, 2]) + question)
    add("flower_node", bytes([1, 1]) + announced)
    add("flower_replies", bytes([0, 3]) + answer["identity"] + answer["proof"])
    add("flower_round", bytes([0, 3]) + answer["identity"] + answer["proof"])
    for at, array in enumerate(recorded.asked[4]["arrays"].values()):
        add("flower_node", bytes([4, 4, at]) + array.data)
        add("flower_arrays", array.data)
    add("flower_arrays", b"\x93NUMPY\x01\0\x0a\0{'descr': (")
    add("flower_arrays", b"PK\3\4")
    for at in range(2, flower.EXCHANGES):
        memory = flower.from_bytes(recorded.states[at])["secagg"]["memory"]
        add("flower_memory", bytes([at - 2]) + memory)
    return found | flower_query_seeds() | flower_group_seeds()


def flower_group_seeds() -> dict[str, list[bytes]]:
    """What a node is asked in a draw of groups, what it keeps of one, and what it has kept of them all."""
    from . import flower_group_targets as groups
    from . import flower_session as flower

    draw, asked = groups.recorded(), []
    for at, content in enumerate(draw.asked):
        fields = flower.fields_of(content)
        asked += [bytes([at, 0]) + fields["draw"][framing.HEADER_BYTES :], bytes([at, 2]) + flower.to_bytes(content)]
        if "terms" in fields:
            asked.append(bytes([at, 1]) + fields["terms"])
        if at:
            kept = flower.from_bytes(draw.states[at])[groups.DRAW]
            asked.append(bytes([at, 3, 0]) + kept["terms"])
            asked.append(bytes([at, 3, 128]) + kept["dump"][dumps.HEADER_BYTES :])
    return {
        "flower_draw": asked,
        "flower_draws": [file[dumps.HEADER_BYTES :] for file in draw.files if file],
    }


def flower_query_seeds() -> dict[str, list[bytes]]:
    """A query, what invites those who have agreed to it, what they remember, and a site's file and table."""
    from . import flower_query_targets as queries
    from . import flower_session as flower

    context = queries.agreeing()
    agreed = context.state[queries.AGREED]["agreed"]
    asked = flower.RecordDict({"secagg": queries.record_of(query=queries.QUERY.encoded)})
    agreement = flower.RecordDict({"secagg": queries.record_of(digest=queries.QUERY.digest)})
    return {
        "flower_query": [
            b"\x00" + queries.QUERY.encoded,
            b"\x01" + flower.to_bytes(asked),
            b"\x02" + queries.invitation()["announcement"],
            b"\x03" + agreed,
        ],
        "flower_asked": [
            b"\x00\x01" + flower.to_bytes(agreement),
            b"\x00\x02\x03\xe9secagg: QueryRefused: disclosure",
            *(bytes([at, 1]) + flower.to_bytes(asked) for at in range(1, queries.EXCHANGES)),
        ],
        "flower_site_file": [
            b'\x00dataset = "d"\ntable = "t.csv"\njournal = "j"\nids = "y"\n[columns]\nx = "number"\n'
            b'[policy]\ncolumns = ["x"]\nmin_sites = 7\n',
            b'\x01y,x\n"a, b",1.5\n,NA\n',
        ],
    }
