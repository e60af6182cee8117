"""Every row has a label and a style, those of methods that the house has never heard of among them."""

import pandas as pd
import torch

import samattr_ref as sr
from reports.labels import label_of, labels
from reports.style import style_of, styles


def test_labels_say_how_a_method_is_used():
    frame = pd.DataFrame({"method": ["tracin-cp", "loo", "no-edit", "mine.py:cosine"]})
    assert labels(frame) == ["TracIn-CP", "exact LOO", "no edit", "mine.py:cosine"]
    assert labels(frame[:1].assign(how="in parts")) == ["TracIn-CP, in parts"]
    assert label_of("tracin-cp", "self-influence") == "TracIn-CP self-influence"


def test_a_use_of_a_method_is_dotted_in_its_colour():
    (shown, rows), (other, _) = styles(pd.DataFrame({"method": ["sam-if"] * 3, "how": ["", "by batch", ""]}))
    assert len(rows) == 2 and shown == style_of("sam-if")
    assert other.colour == shown.colour and other.line == ":" != shown.line


def test_methods_of_others_are_told_apart_in_every_figure(registering):
    names = [f"other-{i:02}" for i in range(30)]
    before = {(style_of(name).colour, style_of(name).marker) for name in sr.methods()}
    for name in reversed(names):
        sr.method(name, summary="nothing", source="them")(lambda run, queries: torch.zeros(run.n_train, len(queries)))
    looks = [(style_of(name).colour, style_of(name).marker) for name in names]
    assert len(set(looks)) == len(looks) and not before.intersection(looks)
    assert len({style_of(name).colour for name in names[:6]}) == 6
    assert label_of(names[0]) == "Other 00"
    assert style_of("mine.py:one") == style_of("mine.py:one") != style_of("mine.py:two")
