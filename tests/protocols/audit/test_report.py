"""The audit's command and its report, as people, scripts and browsers meet them."""

from __future__ import annotations

import base64
import json
import re
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from dp.errors import LedgerCorruptError, LedgerStorageError
from protocols.audit import outcome, plots, report
from protocols.audit.outcome import Check, Claims, Found, Histogram, Outcome, Refuted, Status, Trials, Unavailable
from protocols.audit.runner import MOST_SAMPLES, Audit, Verdict, all_checks, chosen, run
from protocols.cli.app import app
from protocols.reporting import drawing
from secagg.errors import ParameterError, StateError
from tests.command_line import separating_runner

from .faults import no_associated_data

runner = separating_runner()
FEW = ("--examples", "2", "--samples", "100000", "--seed", "5")
SVG = "{http://www.w3.org/2000/svg}"


def test_the_command_passes_reports_and_says_how_to_have_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "report"
    only = ("--only", "primitives", "--only", "noise/gaussian-1")
    done = runner.invoke(app, ["audit", *FEW, *only, "--report", str(folder)])
    assert done.exit_code == 0, done.output
    assert f"PASSED, of a part: 11 checks passed, of {len(all_checks())} that there are, in" in done.stdout
    facts = json.loads((folder / "audit.json").read_text())
    assert (facts["verdict"], facts["passed"], facts["failed"], facts["seed"]) == ("passed", 11, 0, 5)
    assert facts["versions"]["numpy"] == np.__version__
    assert (facts["only"], facts["checks_in_all"]) == (["primitives", "noise/gaussian-1"], len(all_checks()))
    assert facts["false_alarm"] == pytest.approx(3e-9)
    page = (folder / "audit.html").read_text()
    assert "secagg audit --seed 5 --examples 2 --samples 100000 --only primitives --only noise/gaussian-1<" in page
    assert "<strong>Passed, of a part</strong>" in page
    assert page.count("<img ") == 1


def test_a_failure_is_exit_code_4_and_is_told_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_associated_data(monkeypatch)
    arguments = ["audit", *FEW, "--only", "primitives/aead", "--report", str(tmp_path)]
    done = runner.invoke(app, arguments)
    assert done.exit_code == 4
    assert "FAILED" in done.stdout
    assert "another context was accepted (example 0 of seed 5)" in done.stdout
    assert "another context was accepted" in (tmp_path / "audit.html").read_text()
    done = runner.invoke(app, [*arguments, "--json"])
    assert done.exit_code == 4
    assert json.loads(done.stdout)["checks"][0]["status"] == "failed"


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["people", "machines"])
def test_an_interrupted_audit_gives_no_verdict(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("protocols.audit.runner.run", interrupt)
    done = runner.invoke(app, ["audit", *options, "--report", str(tmp_path)])
    assert done.exit_code == 130
    assert "interrupted: no verdict" in done.stderr
    assert "PASSED" not in done.stdout + done.stderr
    assert not options or "no verdict" in json.loads(done.stdout)["message"]
    assert not list(tmp_path.iterdir())


def test_quick_is_less_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, examples, samples in (([], 200, 1_000_000), (["--quick"], 25, 200_000)):
        done = runner.invoke(app, ["audit", *options, "--only", "vectors/aead", "--json"])
        facts = json.loads(done.stdout)
        assert (facts["examples"], facts["samples"]) == (examples, samples)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nonsense"], "groups are vectors, replay, primitives"),
        (["--only", "noise/share"], "this group has noise/"),
        (["--samples", "5", "--only", "vectors"], "samples is 5, but must be from 100,000 to 10,000,000"),
        (["--samples", "10000001", "--only", "vectors"], "run the audit several times"),
        (["--examples", "0", "--only", "vectors"], "examples is 0, but must be from 1 to 100,000"),
        (["--examples", "100001", "--only", "vectors"], "run the audit several times"),
        (["--seed", "-1", "--only", "vectors"], "seed is -1, but must be at least 0"),
        (["--report", "/dev/null/report", "--only", "vectors"], "cannot write"),
    ],
)
def test_impossible_options_are_exit_code_2_before_anything_runs(arguments: list[str], words: str) -> None:
    done = runner.invoke(app, ["audit", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr
    assert "vectors/aead" not in done.stdout


def check(run_it: Any, name: str = "made-up") -> Check:
    return Check("noise", name, "something <b>holds</b>", run_it)


def test_a_failure_by_chance_is_told_from_one_that_comes_again() -> None:
    def refuted(trials: Trials) -> Found:
        raise Refuted("it does not hold")

    for drawn in (True, False):
        done = run([Check("noise", "made-up", "it holds", refuted, 1e-9, repeatable=not drawn)], seed=1, examples=2)
        (failed,) = done.outcomes
        assert failed.again == "secagg audit --seed 1 --examples 2 --samples 1000000 --only noise/made-up"
        assert failed.again in report.html(done)
        assert ("by chance it fails once in 1,000,000,000 runs" in report.html(done)) is drawn


def test_false_alarms_are_told_rounded_up_and_no_more() -> None:
    passing = Check("noise", "made-up", "it holds", lambda trials: Found({"ran": 1}), 1e-9)
    for checks, told in ((3, "3e-09"), (13, "1.3e-08"), (27, "2.7e-08")):
        done = run([passing] * checks, seed=1, examples=1)
        assert done.false_alarm == float(told)
        assert f"probability of at most {told}." in report.html(done)
    assert "false alarms: 1e-09" in report.html(done)


def test_the_same_seed_simulates_the_same_inputs_whatever_else_runs() -> None:
    seen: list[list[int]] = []

    def look(trials: Trials) -> Found:
        seen.append([int(rng.integers(1 << 32)) for rng in trials.each()])
        return Found({})

    run([check(look)], seed=7, examples=3)
    run([check(look, "another"), check(look)], seed=7, examples=3)
    run([check(look)], seed=8, examples=3)
    assert seen[0] == seen[2]
    assert len({tuple(numbers) for numbers in seen}) == 3
    assert len(set(seen[0])) == 3


def test_without_a_seed_one_is_drawn_and_told() -> None:
    assert run([], examples=1).seed != run([], examples=1).seed


def test_what_cannot_run_is_told_and_is_no_pass() -> None:
    def missing(trials: Trials) -> Found:
        raise Unavailable("needs something: pip install it")

    done = run([check(missing)], seed=1)
    assert done.outcomes[0].status is Status.NOT_RUN
    assert not done.passed
    assert done.verdict is Verdict.INCOMPLETE
    assert done.false_alarm == 0
    assert "needs something: pip install it" in report.html(done)
    passing = check(lambda trials: Found({"ran": 1}))
    done = run([check(missing), passing], seed=1)
    assert done.passed
    assert report.summary(done).startswith("1 check passed, 1 did not run, of ")


def test_every_bad_number_is_named_and_no_good_one() -> None:
    with pytest.raises(ParameterError) as told:
        run([], seed=3, examples=200, samples=10)
    assert str(told.value).startswith("samples is 10, but must be from")
    assert "examples" not in str(told.value)
    assert "seed" not in str(told.value)
    with pytest.raises(ParameterError, match=r"seed is -1.*; examples is 0.*; samples is 10000001") as told:
        run([], seed=-1, examples=0, samples=MOST_SAMPLES + 1)


def raising(error: Exception) -> Any:
    def raise_it(trials: Trials) -> Found:
        raise error

    return raise_it


MACHINES = [
    MemoryError("no room for an array"),
    OSError(28, "No space left on device"),
    PermissionError(13, "Permission denied"),
    RuntimeError("cannot cache function 'walk': no locator available"),
    ImportError("libgmp.so.10: cannot open shared object file"),
    LedgerStorageError("no durable ledger there"),
]


@pytest.mark.parametrize("error", MACHINES, ids=lambda error: type(error).__name__)
def test_what_the_machine_refuses_is_neither_a_finding_nor_a_pass(error: Exception) -> None:
    fine = check(lambda trials: Found({}), "fine")
    done = run([check(raising(error)), fine], seed=1)
    assert [each.status for each in done.outcomes] == [Status.ERROR, Status.PASSED]
    assert "nothing was refuted" in done.outcomes[0].reason
    assert done.verdict is Verdict.INCOMPLETE
    assert not done.passed
    facts = done.facts()
    assert (facts["verdict"], facts["failed"], facts["could_not_run"]) == ("incomplete", 0, 1)
    page = report.html(done)
    assert "No verdict" in page
    assert "! could not run" in page
    assert "audit incomplete" in page
    assert "Failed" not in page


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        RecursionError(),
        NotImplementedError(),
        StateError("out of order"),
        LedgerCorruptError("bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_library_raises_unasked_is_a_finding(error: Exception) -> None:
    done = run([check(raising(error))], seed=1)
    assert done.outcomes[0].status is Status.FAILED
    assert done.verdict is Verdict.FAILED


def test_a_failure_decides_although_another_check_could_not_run() -> None:
    done = run([check(raising(MemoryError())), check(raising(Refuted("it does not hold")))], seed=1)
    assert done.verdict is Verdict.FAILED


def invoked(monkeypatch: pytest.MonkeyPatch, *checks: Check, options: tuple[str, ...] = ()) -> Any:
    monkeypatch.setattr("protocols.audit.runner.chosen", lambda only: checks)
    for module in ("runner", "report"):
        monkeypatch.setattr(f"protocols.audit.{module}.all_checks", lambda: checks)
    return runner.invoke(app, ["audit", "--seed", "1", *options])


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["people", "machines"])
def test_the_command_has_an_exit_code_of_its_own_for_what_could_not_run(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = invoked(
        monkeypatch, check(raising(MemoryError("too much"))), check(lambda trials: Found({})), options=options
    )
    told = done.stdout + done.stderr
    assert done.exit_code == 5
    assert "NO VERDICT: 1 check passed, 1 could not run" in told
    assert "FAILED" not in told
    assert "PASSED" not in told
    assert not options or json.loads(done.stdout)["verdict"] == "incomplete"


def test_what_did_not_run_for_want_of_a_library_is_part_of_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(trials: Trials) -> Found:
        raise Unavailable("phe is not installed: pip install '.[paillier]'")

    paillier = Check("paillier", "sums", "sums are right", missing)
    done = invoked(monkeypatch, check(lambda trials: Found({})), paillier, options=("--report", str(tmp_path)))
    assert done.exit_code == 0
    assert "PASSED, without Paillier: 1 check passed, 1 did not run" in done.stdout
    assert "<strong>Passed, without Paillier</strong>" in (tmp_path / "audit.html").read_text()
    assert json.loads((tmp_path / "audit.json").read_text())["without"] == ["paillier"]
    other = Check("paillier", "round", "rounds are right", lambda trials: Found({}))
    done = invoked(monkeypatch, paillier, other)
    assert "PASSED, without paillier/sums: 1 check passed, 1 did not run" in done.stdout


def test_a_compiler_without_its_cache_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(only: list[str]) -> None:
        raise RuntimeError("cannot cache function 'walk': no locator available")

    monkeypatch.setattr("protocols.audit.runner.chosen", chosen)
    done = runner.invoke(app, ["audit"])
    assert done.exit_code == 5
    assert "could not run here, and there is no verdict: cannot cache" in done.stderr


def test_one_refutation_among_passes_decides() -> None:
    def refute(trials: Trials) -> Found:
        raise Refuted("it does not hold", count=3)

    done = run([check(lambda trials: Found({})), check(refute), check(lambda trials: Found({}))], seed=1)
    assert [each.status for each in done.outcomes] == [Status.PASSED, Status.FAILED, Status.PASSED]
    assert not done.passed
    assert done.outcomes[1].figures == {"count": 3}


def test_a_refusal_that_does_not_come_is_a_finding_and_another_error_passes_through() -> None:
    outcome.demand_refusal(lambda: int("x"), ValueError, "nonsense")
    with pytest.raises(Refuted, match="nonsense was accepted"):
        outcome.demand_refusal(lambda: int("1"), ValueError, "nonsense")
    with pytest.raises(ZeroDivisionError):
        outcome.demand_refusal(lambda: 1 / 0, ValueError, "nonsense")


def test_nothing_chosen_is_everything_and_order_is_kept() -> None:
    assert chosen([]) == all_checks()
    few = ["ledger/tampering", "noise", "vectors/aead"]
    assert [each.key for each in chosen(few) if each.group != "noise"] == ["vectors/aead", "ledger/tampering"]
    assert {each.key for each in chosen(few)} > {"noise/control", "noise/rounding"}
    with pytest.raises(ParameterError, match="nope"):
        chosen(["nope", "ledger"])


HISTOGRAM = Histogram("a <title>", np.arange(-2.0, 3.0), np.array([1.0, 5, 9, 5, 1]), np.array([1.0, 5, 9, 5, 1]))
CLAIMS = Claims("claims", (("fine", 1.0, 0.5), ("refuted", 1.0, 1.5)))


def audit_of(*outcomes: Outcome) -> Audit:
    return Audit(outcomes, 1, 2, 3, datetime(2030, 1, 2, tzinfo=UTC), 4.0)


def ended(status: Status, reason: str = "", *drawn: outcome.Plot) -> Outcome:
    return Outcome(check(lambda trials: Found({})), status, reason, {"count": 1234567, "rate": 1.5}, drawn, 0.1)


class Balanced(HTMLParser):
    """Fails on tags that do not close in order; collects text."""

    VOID = frozenset({"meta", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag not in {"script", "link"}
        for _, value in attrs:
            assert not re.match(r"https?:", value or ""), "the page must need nothing else"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_needs_nothing_else_and_escapes_everything() -> None:
    page = report.html(audit_of(ended(Status.PASSED, "", HISTOGRAM, CLAIMS), ended(Status.FAILED, "a & <script>b")))
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    assert "something <b>holds</b>" in reader.text
    assert "a & <script>b" in reader.text
    assert "count: 1,234,567" in reader.text
    assert 'alt="a &lt;title&gt;"' in page
    pictures = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)
    assert len(pictures) == 2
    for picture in pictures:
        assert ET.fromstring(base64.b64decode(picture)).tag == f"{SVG}svg"  # noqa: S314 - of our own making


def test_a_refuted_claim_looks_different() -> None:
    assert drawing.WARM.encode() in plots.svg(CLAIMS)
    assert drawing.WARM.encode() not in plots.svg(Claims("claims", CLAIMS.bounds[:1]))


def test_without_matplotlib_the_report_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    page = report.html(audit_of(ended(Status.PASSED, "", HISTOGRAM)))
    assert "pip install &#x27;.[plots]&#x27;" in page
    assert "<img" not in page


def test_histograms_count_what_there_is() -> None:
    from fractions import Fraction

    from dp.laws import gaussian_law
    from protocols.audit.checks.noise import histogram

    values = np.array([-3, 0, 0, 1, 1, 1, 40])
    found = histogram(values, gaussian_law(Fraction(4)), "few")
    counts = dict(zip(found.at.tolist(), found.observed.tolist(), strict=True))
    assert {at: count for at, count in counts.items() if count} == {-3: 1, 0: 2, 1: 3}
    assert found.expected.sum() == pytest.approx(7, rel=1e-3)
