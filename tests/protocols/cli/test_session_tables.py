"""What serve shows people of sessions that have ended: 80 columns, names and numbers, and why something is hidden."""

import json
from dataclasses import replace

import pytest

from protocols.cli.session_tables import show_session
from tests.protocols.service import sample_views as sample

VIEWS = {view.session: view for view in sample.service().sessions}


@pytest.fixture
def shown(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def show(view):
        show_session(view, json.loads(view.result) if view.result else None)
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        return " ".join(text.split())

    return show


def test_a_sum_is_its_numbers(shown):
    text = shown(VIEWS[sample.DONE])
    assert "Weekly update: completed" in text
    assert "the sum of 9 members patients: 2,380 update: 0 0.1429 0.2857" in text
    assert f"its shares were not those that it was dealt: {sample.LIAR}" in text
    assert f"without {sample.UNWILLING}: consent-withdrawn" in text
    noisy = json.dumps(sample.SUMS | {"noise_deviation": {"update": 0.25}})
    assert "update (with noise of standard deviation 0.25): 0 0.1429" in shown(
        replace(VIEWS[sample.DONE], result=noisy)
    )
    long = json.dumps(sample.SUMS | {"sums": {"update": list(range(1000))}})
    assert " 99 and 900 more" in shown(replace(VIEWS[sample.DONE], result=long))


def test_an_answer_is_tables_and_says_why_something_is_hidden(shown):
    text = shown(VIEWS[sample.STATISTICS])
    assert "11 sites, 2,380 records" in text
    assert "mean age 62.14 0.0001 2,380" in text
    assert "hidden: cell: a count from 1 to below the least that is shown" in text
    assert "[5, 10) 800" in text
    hidden = json.dumps(sample.FOUND | {"records": None})
    assert "11 sites, how many records is hidden" in shown(replace(VIEWS[sample.STATISTICS], result=hidden))


def test_a_session_without_a_result_says_why_and_who_is_out(shown):
    text = shown(VIEWS[sample.FAILED])
    assert text.startswith(f"Nightly counts: failed, ThresholdError: {sample.TOO_FEW} without {sample.LIAR}: Malformed")


def test_a_result_of_a_form_that_is_not_known_is_shown_as_it_stands(shown):
    assert '"coins": 3' in shown(replace(VIEWS[sample.DONE], result='{"coins": 3}'))
