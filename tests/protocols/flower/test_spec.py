"""The chapter on Flower names the keys, vectors and strategies that there are."""

import re
from pathlib import Path

import msgspec

from protocols.flower import comparing, draw_answers, envelope, mod, node_policy, own_group, settings, strategies
from protocols.groups import ServerDrawPhase

CHAPTER = (Path(__file__).parents[3] / "docs/spec/flower.md").read_text()


def test_the_keys_of_a_nodes_configuration():
    known = {node_policy.PREFIX + name.replace("_", "-") for name in node_policy.DEMANDS} | {
        node_policy.IN_CLEAR,
        node_policy.MIN_GROUP,
        *node_policy._FILES,
    }
    assert set(re.findall(r"`(secagg-[a-z-]+)`", CHAPTER)) == known


def test_the_vectors_and_their_encodings():
    rows = dict(re.findall(r"^\| `([^`]+)` \| (floats|integer)[^|]* \|", CHAPTER, re.MULTILINE))
    names = (settings.UPDATE + "...", settings.COUNTERS, settings.METRICS, settings.WEIGHT, settings.CLIPPED)
    assert list(rows) == list(names)
    assert list(rows.values()) == ["floats", "floats", "floats", "integer", "integer"]
    limit = settings.COUNTER_LIMIT
    assert limit == 2.0**31
    assert f"| `counters` | floats, 2^31, {settings.COUNTER_BITS} bits |" in CHAPTER
    assert f"| `metrics` | floats, `metric_limit`, {settings.METRIC_BITS} bits |" in CHAPTER


def test_the_announcement_is_an_array_in_the_stated_order():
    kind = mod.Announcement
    assert kind.__struct_config__.array_like
    words = ("run id", "message type", "nodes' ids", "identities", "content", "the weight", "metrics", "max_clipped")
    text = CHAPTER[CHAPTER.index("*Announcement*") :]
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert len(words) == len(kind.__struct_fields__)
    empty = kind(1, "train", b"", (), bytes(32), "num-examples", (("loss", 0),), 0.5)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(empty))[6] == [["loss", 0]]


def test_every_strategy_that_is_served_is_named():
    text = CHAPTER[CHAPTER.index("## 39") :]
    served = text[text.index("Served:") : text.index("Refused")]
    assert set(re.findall(r"\b(?:Fed|Differential)\w+", served)) == {*strategies._MEAN, *strategies._WRAPPERS}
    named = set(re.findall(r"\b(?:Fed\w+|\w*Krum|Bulyan|QFedAvg)\b", text[text.index("Refused") :]))
    assert named <= strategies._NO_MEAN.keys()


def test_every_strategy_over_groups_is_named_with_its_rule():
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|", CHAPTER[CHAPTER.index("## 39") :], re.MULTILINE))
    assert rows == {name: str(rule) for name, rule in comparing.COMPARING.items()}


def test_a_draw_of_groups_has_the_names_that_are_stated():
    text = CHAPTER[CHAPTER.index("### 37.5") : CHAPTER.index("## 38")]
    for phase in list(ServerDrawPhase)[:3]:
        assert f"`draw-{phase}`" in text
    assert f"`{own_group.data_of(7).removesuffix('7')}` and the run id" in text
    words = ("run id", "the plan", "ids", "identities")
    places = [text.index(word, text.index("the array of")) for word in words]
    assert places == sorted(places)
    assert len(words) == len(draw_answers.DrawTerms.__struct_fields__)
    assert f"last {own_group.KEPT_GROUPS} runs" in CHAPTER
    assert f"`{own_group._FOLDER}/<public key in hexadecimal>`" in CHAPTER


def test_a_querys_session_has_the_names_that_are_stated():
    text = CHAPTER[CHAPTER.index("### 37.4") : CHAPTER.index("## 38")]
    assert f"have the type `{envelope.STATISTICS}`" in text
    assert f"`{settings.QUERY}` and the 64 hexadecimal digits of FLOWER_CONTEXT" in text
