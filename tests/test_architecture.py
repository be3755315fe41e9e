"""Arrows point one way: protocols -> secagg, protocols -> dp, and down its layers; nothing heavy at import."""

import ast
from collections.abc import Callable, Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("secagg", "dp", "protocols", "bench/suite")
ALLOWED_PACKAGES = {
    "secagg": {"secagg"},
    "dp": {"dp"},
    "protocols": {"secagg", "dp", "protocols"},
    "bench": {"secagg", "protocols", "bench"},
}
HEAVY = {
    "numba",
    "galois",
    "scipy",
    "phe",
    "gmpy2",
    "flwr",
    "sklearn",
    "matplotlib",
    "dp_accounting",
    "sqlalchemy",
    "psycopg",
    "pyarrow",
    "ray",
    "starlette",
    "uvicorn",
    "httpx",
    "opentelemetry",
    "prometheus_client",
}
# Modules that are themselves only imported from inside a function may import what is heavy.
LAZY_MODULES = {
    "secagg._compiling",
    "secagg._bit_kernels",
    "secagg._encoding_kernels",
    "secagg._field_kernels",
    "secagg._stream_kernels",
    "secagg.paillier._limb_rows",
    "secagg.paillier._montgomery_kernels",
    "dp._compiling",
    "dp._kernels",
}
# Only these may speak to people or the operating system's terminal.
COMMANDS = ("protocols.cli", "bench.suite.__main__")
# Connections are counted there, from when they are accepted.
SOCKETS = "protocols.service.handshakes"
# Logs are structured there, and hold no secret.
LOGS = "protocols.service.observing"
# Simulated data, and nothing that is secret, may be drawn from numpy's generators.
SIMULATED_DATA = (
    "protocols.simulation",
    "protocols.costs.measuring",
    "protocols.audit.checks",
    "protocols.audit.outcome",
    "protocols.audit.stage",
    "protocols.cli.demo",
    "protocols.costs.measuring",
)
# The folders of `protocols`, lowest first: each imports from itself and from lower layers only. A folder within a
# folder that is named here is a layer of its own.
LAYERS = (
    ("core", "reporting", "inputs", "statistics.estimates"),
    ("masking", "paillier"),
    ("privacy",),
    ("statistics", "groups", "hierarchy"),
    ("simulation",),
    ("flower", "ray", "service", "costs"),
    ("audit",),
    ("cli",),
)


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


# The Flower adapter is entered by apps of Flower's alone, which have loaded it.
LAZY_MODULES |= {module for module in MODULES if module.startswith("protocols.flower")}
# So is the service: by its commands, from inside functions, and by programs that are about it.
LAZY_MODULES |= {module for module in MODULES if module.startswith("protocols.service")}


def folder_of(module: str) -> str:
    """The layer's name of a module of `protocols`: its folder, or the one within that `LAYERS` names."""
    parts = module.split(".")[1:]
    inner = ".".join(parts[:2])
    return inner if any(inner in layer for layer in LAYERS) else parts[0]


def _is_for_types(node: ast.AST) -> bool:
    """Tell whether a block is for type checkers alone."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def imports(module: str, *, only_at_import: bool) -> frozenset[str]:
    """Absolute names of what a module imports; modules of ours are named as deep as they exist."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    tree = tree_of(module)
    names = set()
    left = [tree]
    while left:
        node = left.pop()
        if only_at_import and (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(node)):
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            target = ".".join([*base, node.module] if node.module else base)
            names |= {
                f"{target}.{alias.name}" if f"{target}.{alias.name}" in MODULES else target for alias in node.names
            }
    return frozenset(names)


def found(wrong: Callable[[str], set[str]], among: Iterable[str]) -> dict[str, set[str]]:
    """What is wrong with modules, by module."""
    return {module: names for module in sorted(among) if (names := wrong(module))}


def test_arrows_between_packages_point_one_way() -> None:
    def wrong(module: str) -> set[str]:
        used = {name.partition(".")[0] for name in imports(module, only_at_import=False)} & ALLOWED_PACKAGES.keys()
        return used - ALLOWED_PACKAGES[module.partition(".")[0]]

    assert found(wrong, MODULES) == {}


def test_layers_import_downwards() -> None:
    levels = {folder: level for level, folders in enumerate(LAYERS) for folder in folders}

    def wrong(module: str) -> set[str]:
        own = folder_of(module)
        used = {
            folder_of(name) if "." in name else "the door"
            for name in imports(module, only_at_import=False) & set(MODULES)
            if name.startswith("protocols")
        }
        return {folder for folder in used - {own} if levels.get(folder, len(LAYERS)) >= levels[own]}

    assert found(wrong, [name for name in MODULES if name.startswith("protocols.")]) == {}


def test_modules_have_no_cycles() -> None:
    graph = {module: imports(module, only_at_import=False) & set(MODULES) for module in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_nothing_heavy_is_imported_with_a_module() -> None:
    def wrong(module: str) -> set[str]:
        names = imports(module, only_at_import=True)
        return {name for name in names if name.partition(".")[0] in HEAVY} | names & LAZY_MODULES

    assert found(wrong, set(MODULES) - LAZY_MODULES) == {}


def test_forbidden_things_are_not_used() -> None:
    def wrong(module: str) -> set[str]:
        names = {name.partition(".")[0] for name in imports(module, only_at_import=False)}
        forbidden = {"pickle", "random", "marshal", "shelve", "socket", "logging", "typer", "rich"}
        if module == SOCKETS:
            forbidden -= {"socket"}
        if module == LOGS:
            forbidden -= {"logging"}
        if module.startswith(COMMANDS):
            forbidden -= {"typer", "rich"}
        asserts = any(isinstance(node, ast.Assert) for node in ast.walk(tree_of(module)))
        return names & forbidden | ({"assert"} if asserts else set())

    assert found(wrong, MODULES) == {}


def test_modules_are_small() -> None:
    assert [module for module, path in MODULES.items() if len(path.read_text().splitlines()) > 430] == []


def test_randomness_is_the_operating_systems() -> None:
    others = [module for module in MODULES if not module.startswith(SIMULATED_DATA)]
    assert [module for module in others if "np.random" in MODULES[module].read_text()] == []


def test_what_a_number_was_taken_as_is_kept() -> None:
    """`whole` and `real` take numpy's numbers, too, which a dump refuses long after."""

    def wrong(module: str) -> set[str]:
        calls = [node.value for node in ast.walk(tree_of(module)) if isinstance(node, ast.Expr)]
        names = [call.func for call in calls if isinstance(call, ast.Call)]
        return {name.id for name in names if isinstance(name, ast.Name)} & {"whole", "real", "boolean"}

    assert found(wrong, MODULES) == {}
