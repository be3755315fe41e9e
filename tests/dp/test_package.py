"""The package as a whole: what it exports, what importing it costs, what its command says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import dp
from protocols.cli.dp import dp_app
from tests.command_line import separating_runner
from tests.processes import python

# Old matplotlib on new pyparsing warns; that is not our concern here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_every_promised_name_is_there() -> None:
    for name in dp.__all__:
        assert getattr(dp, name) is not None
        assert name in dir(dp)
    with pytest.raises(AttributeError):
        _ = dp.nothing


@pytest.mark.parametrize(
    "statement", ["import dp", "import dp; dp.discrete_gaussian(2.0, 8)", "import protocols.cli.dp"]
)
def test_importing_and_small_draws_load_nothing_heavy(statement: str) -> None:
    heavy = ("scipy", "numba", "dp_accounting", "matplotlib")
    code = f"import sys; {statement}; print([m for m in {heavy} if m in sys.modules])"
    assert python("-c", code).strip() == "[]"


def run(*args: str) -> tuple[int, str]:
    result = separating_runner().invoke(dp_app, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(("law", "scale"), [("gaussian", "3.5"), ("gaussian", "4000"), ("laplace", "20")])
def test_noise_command(law: str, scale: str, tmp_path: Path) -> None:
    png = tmp_path / "noise.png"
    flags = ["--count", "50000", "--false-alarm", "1e-9", "--plot", str(png)]
    code, out = run("noise", law, "--scale", scale, *flags, "--json")
    assert code == 0
    said = json.loads(out)
    assert said["passed"]
    assert {f["passed"] for f in said["findings"]} == {True}
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    code, out = run("noise", law, "--scale", scale, *flags)
    assert code == 0
    assert "has its law" in out


def test_a_failed_check_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from dp import samplers

    draw = samplers.discrete_gaussian
    monkeypatch.setattr(samplers, "discrete_gaussian", lambda scale, count: draw(scale * 1.05, count))
    code, out = run("noise", "gaussian", "--scale", "10")
    assert code == 4
    assert "does not have its law" in out


def test_what_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = ["noise", "gaussian", "--scale", "3", "--count", "2000", "--plot", str(tmp_path / "p.png")]
    outcome = separating_runner().invoke(dp_app, arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "pip install '.[plots]'" in outcome.stderr
    told = json.loads(separating_runner().invoke(dp_app, [*arguments, "--json"]).stdout)
    assert (told["error"], "[plots]" in told["message"]) == ("PrivacyParameterError", True)


def test_calibrate_command() -> None:
    code, out = run("calibrate", "--epsilon", "1", "--delta", "1e-5", "--sensitivity", "2", "--json")
    assert code == 0
    assert json.loads(out)["sigma"] == pytest.approx(2 * 3.7306316348159374, rel=1e-12)
    code, out = run("calibrate", "--epsilon", "0.5", "--mechanism", "laplace", "--json")
    assert json.loads(out)["scale"] == 2
    code, out = run("calibrate", "--epsilon", "1", "--delta", "1e-5", "--mechanism", "discrete-gaussian")
    assert code == 0
    assert "3.74" in out


def test_account_command() -> None:
    code, out = run("account", "--noise-multiplier", "3.7306316348159374", "--delta", "1e-5", "--json")
    assert code == 0
    assert json.loads(out)["epsilon"] == pytest.approx(1, rel=1e-5)
    code, out = run("account", "--noise-multiplier", "1", "--epsilon", "1", "--json")
    assert json.loads(out)["delta"] == pytest.approx(0.12693674, rel=1e-5)
    fixed = ["--batch", "10", "--population", "1000", "--adjacency", "replace-one", "--delta", "1e-5"]
    assert run("account", "--noise-multiplier", "2", *fixed)[0] == 0


@pytest.mark.parametrize(
    "args",
    [
        ("noise", "gaussian", "--scale", "-1"),
        ("noise", "gaussian", "--scale", "1", "--count", "0"),
        ("noise", "gaussian", "--scale", "1", "--plot", "/nowhere/at/all.png"),
        ("calibrate", "--epsilon", "0", "--delta", "1e-5"),
        ("calibrate", "--epsilon", "1"),
        ("calibrate", "--epsilon", "1", "--delta", "1e-5", "--mechanism", "laplace"),
        ("calibrate", "--epsilon", "1", "--mechanism", "laplace", "--rounds", "3"),
        ("account", "--noise-multiplier", "1"),
        ("account", "--noise-multiplier", "1", "--delta", "2"),
        ("account", "--noise-multiplier", "1", "--delta", "1e-5", "--batch", "3"),
        ("account", "--noise-multiplier", "nan", "--delta", "1e-5"),
    ],
)
def test_impossible_commands(args: tuple[str, ...]) -> None:
    assert run(*args)[0] == 2
