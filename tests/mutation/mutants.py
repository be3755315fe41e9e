"""From a module's source to its mutants: each is the whole source with one small, wrong change.

The operators are mutmut's, but for texts and for what fails at once, and four of ours that matter where code must fail
closed: a guard that never fires, a check that is not called, a filter that lets everything through, a number that is
one less. Left alone are texts (strings, the messages of errors), annotations, decorators, and `strict=` of zip, which
is a second guard where lengths are equal already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import libcst as cst
import libcst.matchers as m
from libcst.metadata import CodePosition, CodeRange, MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

ROOT = Path(__file__).parents[2]

Operator = tuple[type, Callable[[Any], Iterable[cst.CSTNode]]]


@dataclass(frozen=True)
class Mutant:
    """One mutant; `lines` are those of the statement, `function` and `path` the outermost function around it.

    `path` is empty where the change is outside of all functions' bodies: in constants, in classes, in defaults.
    """

    module: str
    operator: str
    before: str
    after: str
    at: tuple[int, int]
    lines: tuple[int, int]
    function: tuple[int, int] | None
    path: tuple[str, ...]
    key: str
    """Tells this mutant from all others, as long as the function or class that it is in stays as it is."""
    write: Callable[[], str]
    """Returns the module's source with the change."""


def path_of(module: str) -> Path:
    """Return where a module's source is."""
    return ROOT / (module.replace(".", "/") + ".py")


def mutants_of(module: str) -> list[Mutant]:
    """Return all mutants of a module, without repetition, in the order of its text."""
    text = path_of(module).read_text()
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    tree = wrapper.module
    positions = wrapper.resolve(PositionProvider)
    pieces = [tree.code_for_node(statement) for statement in tree.body]
    start = text.index(pieces[0])

    def write(number: int, original: cst.CSTNode, changed: cst.CSTNode) -> str:
        # Only the outermost statement is written anew: whole modules would take a tenth of a second each.
        piece = tree.code_for_node(tree.body[number].deep_replace(original, changed))  # type: ignore[arg-type]
        return text[:start] + "".join([*pieces[:number], piece, *pieces[number + 1 :]])

    found: dict[tuple[Any, str], Mutant] = {}
    for number, statement in enumerate(tree.body):
        visitor = _Visitor(positions)
        statement.visit(visitor)
        for operator, original, changed, lines, function, path in visitor.changes:
            before, after = (" ".join(tree.code_for_node(node).split()) for node in (original, changed))
            place = positions[original].start if original in positions else lines
            if before == after or (place, after) in found:
                continue
            at = (place.line, place.column) if isinstance(place, CodePosition) else (lines[0], 0)
            inside = at[0] - positions[statement].start.line
            told_by = (module, pieces[number], inside, at[1], operator, before, after)
            key = hashlib.sha256(repr(told_by).encode()).hexdigest()[:20]
            found[place, after] = Mutant(
                module,
                operator,
                before,
                after,
                at,
                lines,
                function,
                path,
                key,
                partial(write, number, original, changed),
            )
    return list(found.values())


def _never(node: cst.If) -> Iterator[cst.If]:
    yield node.with_changes(test=cst.Name("False"), whitespace_before_test=cst.SimpleWhitespace(" "))


def _delete_call(node: cst.SimpleStatementLine) -> Iterator[cst.SimpleStatementLine]:
    if m.matches(node, m.SimpleStatementLine(body=[m.Expr(m.Call())])):
        yield node.with_changes(body=[cst.Pass()])


def _let_all_through(node: cst.CompIf) -> Iterator[cst.CompIf]:
    yield node.with_changes(test=cst.Name("True"), whitespace_before_test=cst.SimpleWhitespace(" "))


def _drop_entry(node: cst.Dict) -> Iterator[cst.Dict]:
    if len(node.elements) > 1:
        for number in range(len(node.elements)):
            yield node.with_changes(elements=[*node.elements[:number], *node.elements[number + 1 :]])


def _one_less(node: cst.Integer) -> Iterator[cst.Integer]:
    if node.evaluated_value > 0:
        yield node.with_changes(value=str(node.evaluated_value - 1))


def _remove_argument(node: cst.Call) -> Iterator[cst.CSTNode]:
    """As mutmut's, but only what may have a default or be one of many: a missing argument fails at once."""
    variadic = m.matches(node.func, m.Name() | m.Attribute()) and _name(node.func) in _VARIADIC
    for number, argument in enumerate(node.args):
        if m.matches(argument, m.Arg(keyword=m.Name("strict"))):
            continue
        if len(node.args) > 1 and (variadic or argument.keyword or number == len(node.args) - 1):
            yield node.with_changes(args=[*node.args[:number], *node.args[number + 1 :]])


def _forget(node: cst.Assign | cst.AnnAssign) -> Iterator[cst.CSTNode]:
    """As mutmut's, but only where something is remembered (attributes and items): a local None fails at once."""
    targets = [target.target for target in node.targets] if isinstance(node, cst.Assign) else [node.target]
    if any(isinstance(target, cst.Attribute | cst.Subscript) for target in targets):
        yield from mutators.operator_assignment(node)


def _name(function: cst.BaseExpression) -> str:
    return cst.ensure_type(function.attr if isinstance(function, cst.Attribute) else function, cst.Name).value


_VARIADIC = {"derive", "digest", "frame", "max", "min"}
_LEFT_OUT = {
    mutators.operator_string,
    mutators.operator_dict_arguments,
    mutators.operator_arg_removal,
    mutators.operator_assignment,
}

OPERATORS: list[Operator] = [
    *((kind, operator) for kind, operator in mutators.mutation_operators if operator not in _LEFT_OUT),
    (cst.If, _never),
    (cst.SimpleStatementLine, _delete_call),
    (cst.CompIf, _let_all_through),
    (cst.Dict, _drop_entry),
    (cst.Integer, _one_less),
    (cst.Call, _remove_argument),
    (cst.Assign, _forget),
    (cst.AnnAssign, _forget),
]


class _Visitor(cst.CSTVisitor):
    def __init__(self, positions: Mapping[cst.CSTNode, Any]) -> None:
        super().__init__()
        self._positions = positions
        self._statements: list[tuple[int, int]] = []
        self._functions: list[tuple[int, int]] = []
        self._path: list[str] = []
        self._in_header = 0
        self.changes: list[
            tuple[str, cst.CSTNode, cst.CSTNode, tuple[int, int], tuple[int, int] | None, tuple[str, ...]]
        ] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_left_alone(node):
            return False
        if isinstance(node, cst.FunctionDef):
            self._functions.append(self._lines(node))
        if isinstance(node, cst.FunctionDef | cst.ClassDef) and len(self._functions) <= 1:
            self._path.append(node.name.value)
        if isinstance(node, cst.Parameters) and len(self._functions) == 1:
            self._in_header += 1
        if isinstance(node, cst.SimpleStatementLine):
            self._statements.append(self._lines(node))
        if isinstance(node, cst.Raise):
            # Texts are left alone, facts (keywords of the error) are not.
            if isinstance(node.exc, cst.Call):
                for argument in node.exc.args:
                    if argument.keyword is not None:
                        argument.value.visit(self)
            return False
        statement = self._statements[-1] if self._statements else self._lines(node)
        function = self._functions[0] if self._functions else None
        path = tuple(self._path) if function and not self._in_header else ()
        for kind, operator in OPERATORS:
            if isinstance(node, kind):
                name = operator.__name__.strip("_")
                self.changes += [(name, node, changed, statement, function, path) for changed in operator(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if _is_left_alone(original_node):
            return
        if isinstance(original_node, cst.Parameters) and len(self._functions) == 1:
            self._in_header -= 1
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef) and len(self._functions) <= 1:
            self._path.pop()
        if isinstance(original_node, cst.FunctionDef):
            self._functions.pop()
        if isinstance(original_node, cst.SimpleStatementLine):
            self._statements.pop()

    def _lines(self, node: cst.CSTNode) -> tuple[int, int]:
        position = self._positions.get(node)
        return (position.start.line, position.end.line) if isinstance(position, CodeRange) else (0, 0)


def _is_left_alone(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.Annotation | cst.Decorator | cst.BaseString | cst.Import | cst.ImportFrom):
        return True
    if isinstance(node, cst.FunctionDef) and node.name.value == "__repr__":
        return True
    if m.matches(node, m.Arg(keyword=m.Name("strict"))):
        return True
    # Docstrings, and names for the type checker.
    typing_only = m.Assign(value=m.Call(func=m.Name("TypeVar") | m.Name("ParamSpec")))
    exported = m.Assign(targets=[m.AssignTarget(target=m.Name("__all__"))])
    return m.matches(
        node,
        m.SimpleStatementLine(body=[m.Expr(m.SimpleString() | m.ConcatenatedString()) | typing_only | exported]),
    )
