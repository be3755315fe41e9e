"""What a participant has opted out of is refused, in every form in which it can be asked; and it is on the disk."""

import json
import threading

import pytest

from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector
from protocols.masking.config import RoundConfig
from protocols.service.consents import Consents, ConsentsError, Did, Matter, What, matters_of
from protocols.service.jobs import asking, summing
from protocols.service.sessions import Kind, SessionSpec
from protocols.statistics import Number, Query, asked
from secagg.errors import ParameterError

NAMES = Participants([f"site-{number}" for number in range(1, 6)])
MODEL = ThreatModel(5, 0.2, 0.2)
SUM = summing("weekly", (IntegerVector("steps", 3), FloatVector("update", 9)), MODEL, NAMES).terms


def query(dataset):
    return asking("ages", Query(dataset, (Number("age", 0, 120),), (asked("mean", "age"),)), MODEL, NAMES).terms


HEART = query("admissions for heart research")
PLAIN = query("admissions")
OTHER = query("admissions-2 for heart research")


@pytest.fixture
def consents(tmp_path):
    ticks = iter(range(1_000, 100_000))
    return Consents(tmp_path / "state", clock=lambda: float(next(ticks)))


@pytest.mark.parametrize(
    ("out", "refused"),
    [
        (("", ""), {"sum", "heart", "plain", "other"}),
        (("admissions", ""), {"heart", "plain"}),
        (("admissions", "heart research"), {"heart"}),
        (("admissions", "other research"), set()),
        (("admissions for heart research", ""), {"heart"}),
        (("steps", ""), {"sum"}),
        (("update", "sum"), {"sum"}),
        (("update", "training"), set()),
        (("admission", ""), set()),
    ],
)
def test_what_was_opted_out_of_is_refused_and_nothing_else(consents, out, refused):
    asked_for = {"sum": SUM, "heart": HEART, "plain": PLAIN, "other": OTHER}
    assert not any(consents.objection("a", terms) for terms in asked_for.values())
    consents.opt_out(*out)
    assert {name for name, terms in asked_for.items() if consents.objection("a", terms)} == refused
    again = Consents(consents.folder)  # another process, or the same after a restart
    assert {name for name, terms in asked_for.items() if again.objection("a", terms)} == refused
    consents.opt_in(*out)
    assert not any(again.objection("a", terms) for terms in asked_for.values())


def test_a_vector_of_a_training_session_can_be_opted_out_of(consents):
    config = RoundConfig(MODEL, (FloatVector("update", 9),))
    terms = SessionSpec("training", config, NAMES, Kind.TRAINING, payload=b"model").terms
    assert matters_of(terms) == (Matter("update", "training"),)
    consents.opt_out("update", "training")
    assert "opted out of update for training" in consents.objection("a", terms)


def test_taking_one_opt_out_back_leaves_the_others(consents):
    consents.opt_out("admissions", "heart research")
    consents.opt_out("admissions")
    consents.opt_in("admissions", "heart research")
    assert [str(each) for each in consents.out()] == ["admissions"]
    assert consents.objection("a", HEART)
    consents.opt_out("admissions")
    assert len(consents.out()) == 1


def test_a_file_that_cannot_be_read_answers_nothing(consents):
    consents.opt_out("other")
    path = consents.folder / "consents.json"
    assert path.stat().st_mode & 0o777 == 0o600
    good = path.read_bytes()
    for bad in (
        b"",
        b"{}",
        good[:-3],
        good.replace(b'"version":1', b'"version":2'),
        b'{"version":1,"out":[3]}',
        b"[" * 9000,
    ):
        path.write_bytes(bad)
        assert "cannot read what it has opted out of" in consents.objection("a", SUM)
        with pytest.raises(ConsentsError, match="consents"):
            consents.out()
        with pytest.raises(ConsentsError):
            consents.opt_out("steps")  # or what was there would be lost
        assert path.read_bytes() == bad


def test_names_are_checked(consents):
    for matter, purpose in (("x" * 501, ""), ("a\nb", ""), ("", "research"), ("a", "b\x00")):
        with pytest.raises(ParameterError):
            consents.opt_out(matter, purpose)
    assert consents.out() == ()


def test_what_was_asked_and_given_is_told_by_names_and_sizes(consents):
    assert consents.asked() == ()
    for phase, size in (("advertise-keys", 100), ("masked-input", 5_000), ("masked-input", 5_000)):
        assert not consents.objection("a", SUM)
        consents.note(Did(What.ANSWERED, "a", "weekly", "sum", phase, size))
    consents.objection("b", HEART)
    consents.note(Did(What.REFUSED, "b", "ages", "statistics", "advertise-keys", reason="policy: \x1b[31mno"))
    consents.note(Did(What.ENDED, "a", "weekly", "sum", "completed"))
    heart, weekly = consents.asked()
    assert weekly.given == (("advertise-keys", 100), ("masked-input", 5_000))  # a repeated answer is the same one
    assert (weekly.ended, weekly.vectors) == ("completed", (("steps", 3), ("update", 9)))
    assert weekly.handed_in
    assert not heart.handed_in
    assert heart.refused == "policy: ?[31mno"
    assert heart.matters == (Matter("admissions", "heart research"),)
    assert (heart.question, weekly.question) == ((("mean", "age"), ("of", "all rows")), ())
    assert (consents.folder / "asked.jsonl").stat().st_mode & 0o777 == 0o600


def test_lines_that_are_damaged_cost_themselves_alone(consents):
    consents.objection("a", SUM)
    with (consents.folder / "asked.jsonl").open("ab") as file:
        file.write(b'{"what": "answered", "session": "a"\n[1]\n{"session": "c"}\n\xff\n{"session": 3}\n')
    consents.note(Did(What.ANSWERED, "a", "weekly", "sum", "masked-input", 7))
    assert [each.session for each in consents.asked()] == ["a"]
    assert consents.asked()[0].given == (("masked-input", 7),)


def test_a_line_that_was_cut_off_costs_itself_alone(consents):
    consents.objection("a", SUM)
    with (consents.folder / "asked.jsonl").open("ab") as file:
        file.write(b'{"what": "answered", "session": "a", "pha')  # the power failed
    again = Consents(consents.folder)
    again.note(Did(What.ANSWERED, "a", "weekly", "sum", "masked-input", 7))
    again.note(Did(What.ENDED, "a", "weekly", "sum", "completed"))
    assert (again.asked()[0].given, again.asked()[0].ended) == ((("masked-input", 7),), "completed")
    assert b"\n\n" not in (consents.folder / "asked.jsonl").read_bytes()


def test_a_full_disk_stops_no_session_but_no_opt_out_is_claimed(consents, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("protocols.service.consents.os.open", full)
    monkeypatch.setattr("protocols.service.consents.write_whole", full)
    assert consents.objection("a", SUM) == ""
    consents.note(Did(What.ENDED, "a", "weekly", "sum", "completed"))
    with pytest.raises(ConsentsError, match="No space left"):
        consents.opt_out("steps")


def test_the_account_of_what_was_asked_has_an_end(consents, monkeypatch):
    monkeypatch.setattr("protocols.service.consents._READ_BYTES", 2_000)
    for number in range(100):
        consents.note(Did(What.ANSWERED, f"{number}", "weekly", "sum", "masked-input", 7))
        assert (consents.folder / "asked.jsonl").stat().st_size <= 2 * 2_000 + 200
    assert [each.session for each in consents.asked()][:9] == [f"{number}" for number in range(99, 90, -1)]
    assert (consents.folder / "asked.jsonl").stat().st_mode & 0o777 == 0o600


def test_opt_outs_of_several_threads_are_all_kept(consents):
    threads = [threading.Thread(target=consents.opt_out, args=(f"set-{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(consents.out()) == 12
    assert len(json.loads((consents.folder / "consents.json").read_text())["out"]) == 12
