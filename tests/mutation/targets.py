"""Which modules are mutated, in the order of how much hangs on them, and which tests are asked first."""

from __future__ import annotations

PROTOCOLS = {
    "client_checks": "test_client_bounds test_client_refusals",
    "client_steps": "test_client_refusals test_vectors",
    "client": "test_forgetting test_session_edges test_client_refusals",
    "client_state": "test_client_state test_forgetting",
    "server_checks": "test_server_checks test_server_faults",
    "unmasking": "test_unmasking test_server_faults",
    "server": "test_session_edges test_forgetting test_server_faults",
    "key_checks": "test_key_checks",
    "bindings": "test_vectors",
    "wire": "test_wire test_message_bounds",
    "policy": "test_policy test_configuration",
    "configuration": "test_given_as test_configuration",
    "lanes": "test_configuration",
    "parameters": "test_parameters",
    "graph": "test_graph",
    "transitions": "test_client_refusals test_server_faults",
}
SECAGG = {
    "shamir": "test_shamir",
    "masking": "test_masking",
    "derivation": "test_derivation",
    "aead": "test_aead",
    "key_agreement": "test_key_agreement",
    "signatures": "test_signatures",
    "encoding": "test_encoding",
    "residues": "test_residues",
    "prg": "test_prg",
    "field": "test_field",
    "arrays": "test_arrays",
    "randomness": "test_randomness",
    "_field_kernels": "test_field test_shamir",
    "_bit_kernels": "test_residues",
}
DP = {
    "samplers": "test_sampler_edges test_samplers",
    "arbiter": "test_samplers",
    "laws": "test_enclosures test_samplers",
    "discrete": "test_discrete test_analytic",
    "randomness": "test_randomness test_samplers",
    "rational": "test_sampler_edges test_enclosures",
    "tables": "test_samplers",
    "_kernels": "test_samplers",
    "mechanisms": "test_mechanisms test_releases",
    "sensitivity": "test_releases",
    "clipping": "test_clipping test_releases",
    "analytic": "test_conversions test_analytic",
    "zcdp": "test_conversions test_analytic",
    "calibration": "test_calibration test_accounting",
    "rdp": "test_rdp test_accounting",
    "pld": "test_loss_distributions test_accounting",
}
TARGETS: dict[str, list[str]] = {
    f"{package}.{module}": [f"tests/{package}/{name}.py" for name in names.split()]
    for package, modules in (("protocols", PROTOCOLS), ("secagg", SECAGG), ("dp", DP))
    for module, names in modules.items()
}

KERNELS = {"secagg._field_kernels", "secagg._bit_kernels", "dp._kernels"}
"""Compiled: no line of them is seen to run, and each mutant gets a cache of its own, so that it is compiled anew."""

LEFT_OUT = {"cli", "package", "paillier", "ledger", "flower"}
"""Words in names of files: tests of commands, which run in processes of their own that do not have the mutant, and
tests of what is not mutated."""
