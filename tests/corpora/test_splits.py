"""Who trains and who is tested: the paper's split, a strict one, and leave-one-subject-out."""

from __future__ import annotations

import csv
from collections import Counter

import pytest

from corpora.raw import RawClip
from corpora.splits import SplitOptions, assign_splits, write_splits
from corpora.tree import CorpusError


def clip(corpus, subject, name):
    return RawClip(f"{subject}_{name}", name, corpus, subject, "", 200.0)


CASME2 = [clip("casme2", f"sub{s:02d}", f"EP0{n}_01f") for s in range(11, 21) for n in (1, 2)]
SAMM = [clip("samm", name[:3], name) for name in ("018_3_1", "018_3_2", "022_3_3", "007_7_1", "006_1_1", "009_1_1")]


def test_paper_split_holds_the_challenge_clips_out_and_nothing_else():
    splits, notices = assign_splits(SAMM, SplitOptions())
    assert [name for name, split in splits.items() if split == "test"] == ["018_018_3_1", "022_022_3_3", "007_007_7_1"]
    assert not notices
    splits, notices = assign_splits(CASME2, SplitOptions())
    assert [name for name, split in splits.items() if split == "test"] == ["sub19_EP01_01f"]  # of sub19 alone
    assert [(n.rule, n.clip) for n in notices] == [
        ("challenge-clip-absent", "EP19_06f"),
        ("challenge-clip-absent", "EP01_13"),
    ]


def test_a_challenge_clip_of_an_unknown_subject_keeps_all_of_its_name_out():
    clips = [clip("casme2", "sub05", "EP19_06f"), clip("casme2", "sub08", "EP19_06f"), *CASME2]
    splits, notices = assign_splits(clips, SplitOptions())
    assert splits["sub05_EP19_06f"] == splits["sub08_EP19_06f"] == "test"
    assert "sub05_EP19_06f, sub08_EP19_06f" in next(n.text for n in notices if n.rule == "ambiguous-challenge-clip")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_subject_split_shares_no_subject(share):
    splits, _ = assign_splits(CASME2, SplitOptions("subject", share=share))
    sides = {split: {c.subject for c in CASME2 if splits[c.name] == split} for split in ("train", "test")}
    assert not sides["train"] & sides["test"]
    assert "sub19" in sides["test"], "the challenge's subject"
    assert len(sides["test"]) == max(1, round(10 * share))


def test_subject_split_depends_on_the_seed_alone():
    def tested(seed, clips):
        splits, _ = assign_splits(clips, SplitOptions("subject", seed=seed, share=0.5))
        return {name for name, split in splits.items() if split == "test"}

    assert tested(1, CASME2) == tested(1, CASME2[::-1])
    assert len({frozenset(tested(seed, CASME2)) for seed in range(5)}) > 1


def test_named_test_subjects():
    splits, _ = assign_splits(CASME2, SplitOptions("subject", test_subjects=("sub12",)))
    assert {name for name, split in splits.items() if split == "test"} == {"sub12_EP01_01f", "sub12_EP02_01f"}
    with pytest.raises(CorpusError, match="--test-subjects: no sub99; there are sub11, sub12"):
        assign_splits(CASME2, SplitOptions("subject", test_subjects=("sub99",)))
    with pytest.raises(CorpusError, match="every clip would be for testing"):
        assign_splits(CASME2, SplitOptions("subject", test_subjects=tuple({c.subject for c in CASME2})))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "random"}, "legal are paper, subject, train"),
        ({"share": 1.0}, "--test-share is 1.0"),
        ({"test_subjects": ("s1",)}, "belongs to --split subject"),
    ],
)
def test_illegal_options(options, message):
    with pytest.raises(ValueError, match=message):
        SplitOptions(**options)


def test_another_list_of_the_challenge(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("corpus,clip,subject,class3\ncasme2,EP02_01f,sub13,\n")
    splits, _ = assign_splits(CASME2, SplitOptions(challenge=path))
    assert [name for name, split in splits.items() if split == "test"] == ["sub13_EP02_01f"]
    path.write_text("corpus,clip\n")
    with pytest.raises(CorpusError, match="no column 'subject'"):
        assign_splits(CASME2, SplitOptions(challenge=path))
    with pytest.raises(CorpusError, match="no such list"):
        assign_splits(CASME2, SplitOptions(challenge=tmp_path / "absent.csv"))


def test_lists_on_disk(tmp_path):
    write_splits(tmp_path, CASME2, SplitOptions(seed=3))
    lists = {path.stem: list(csv.DictReader(path.open())) for path in tmp_path.glob("*.csv")}
    assert set(lists) == {"paper", "subject", "loso"}
    assert len(lists["paper"]) == len(lists["subject"]) == len(CASME2)
    folds = Counter(row["fold"] for row in lists["loso"])
    assert len(folds) == 10 and set(folds.values()) == {len(CASME2)}
    assert all((row["split"] == "test") == (row["subject"] == row["fold"]) for row in lists["loso"])
