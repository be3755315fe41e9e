"""Which target reads what each module decodes, and which modules read nothing of a stranger's.

A test finds the modules that decode by the calls that do it, so that no decoder comes without a line here.
"""

from __future__ import annotations

CALLS = (
    r"json\.loads?\(",
    r"msgpack\.decode\(",
    r"json\.decode\(",
    r"\bDecoder\(",
    r"np\.load\(",
    r"frombuffer\(",
    r"\bfromhex\(",
    r"b64decode\(",
    r"crypto_(scalarmult|sign_open)\(",
    r"\.read_(text|bytes)\(",
    r"fromisoformat\(",
    r"make_url\(",
    r"\.numpy\(\)",
    r"\.fetchall\(",
)

DECODERS: dict[str, tuple[str, ...]] = {
    "dp.ledger.postgres": ("ledger_url",),
    "dp.ledger.records": ("ledger_payload", "ledger_trail"),
    "dp.ledger.sqlite": ("ledger_trail",),
    "protocols.cli.budget": ("participants_file",),
    "protocols.cli.budget_terms": ("plan_file", "command_options"),
    "protocols.core.framing": (
        *("message_bytes", "message_body", "client_answer", "server_receive", "paillier_message"),
        *("flower_announcement", "flower_memory", "flower_node", "flower_replies", "draw_client", "draw_server"),
    ),
    "protocols.paillier.aggregator": ("paillier_dump",),
    "protocols.paillier.key_use": ("key_use",),
    "protocols.core.dumps": ("client_dump", "server_dump", "dump_bytes", "paillier_dump", "draw_memory"),
    "protocols.flower.content": ("flower_arrays", "flower_node"),
    "protocols.core.identity_files": ("identity_file", "roster_file"),
    "protocols.masking.server.server": ("server_dump",),
    "protocols.statistics.journal": ("statistics_journal",),
    "protocols.statistics.query": ("statistics_query", "statistics_toml"),
    "protocols.cli.stats": ("statistics_toml", "statistics_csv"),
    "protocols.masking.wire": ("message_bytes", "client_answer"),
    "secagg.key_agreement": ("public_key", "client_dump"),
    "secagg.paillier.keys": ("public_key_json", "private_key_json"),
    "secagg.paillier.montgomery": ("paillier_ciphertexts",),
    "secagg.residues": ("unpack",),
    "secagg.shamir": ("shares",),
    "secagg.signatures": ("signature", "identity_file"),
}

NOT_FROM_OUTSIDE = {
    "dp._compiling": "the package's own sources, to digest them",
    "protocols.ray.cluster": "the packages' own sources, to digest them",
    "protocols.ray.kept": "files of the driver's own; the dumps in them are protocols.core.dumps's to read",
    "protocols.simulation.memory": "the operating system's own files",
    "secagg.paillier.halves": "exponents that the library has drawn",
    "secagg._compiling": "the package's own sources, to digest them",
    "dp.rotation": "a key stream of its own",
    "protocols.masking.graph": "a key stream of its own",
    "protocols.audit.replay.configurations": "vectors that come with the package",
    "protocols.audit.replay.recorded_randomness": "the same vectors",
    "protocols.audit.checks.freshness": "what the library has drawn",
    "protocols.audit.checks.known_answers": "the same vectors",
    "protocols.audit.replay.operations": "the same vectors",
    "protocols.audit.replay.group_operations": "the same vectors",
    "protocols.audit.replay.private_operations": "the same vectors",
    "protocols.audit.replay.recorded_paillier": "the same vectors",
    "protocols.audit.replay.recorded_private": "the same vectors",
    "protocols.audit.replay.recorded_sessions": "the same vectors",
    "protocols.audit.replay.shipped": "the same vectors",
    "protocols.audit.replay.statistics_operations": "the same vectors",
    "protocols.audit.strings": "what the library has drawn",
    "bench.suite.machine": "the operating system's and the package's own files",
    "bench.suite.report": "the benchmark's own report, which is made anew where it cannot be read",
    "bench.suite.runner": "what pytest-benchmark wrote a moment ago",
    "protocols.flower.account": "a file of the node's own, of which any bytes are an account",
    "protocols.inputs.models": "arrays of the caller's own",
    "protocols.masking.config": "what it has just written itself",
    "secagg.encoding": "a key stream of its own",
    "secagg.field": "the operating system's randomness",
    "secagg.prg": "a key stream of its own",
}
