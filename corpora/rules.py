"""The rules by which everything goes that is not as a corpus says: their names, and notices of their use."""

from __future__ import annotations

from dataclasses import dataclass

# Every departure from "all is as the sheet says" goes by one of these names, in notices and reports.
RULES = {
    # what is left out
    "listed-but-absent": "a row of the coding sheet without frames on disk: left out",
    "listed-twice": "a second row of the coding sheet for one clip: the first one counts",
    "row-incomplete": "a row of the coding sheet without subject or file name: left out (of merged cells, .csv and "
    ".xls keep the first row's alone: fill the others)",
    "not-in-sheet": "frames on disk without a row in the coding sheet: kept without annotations where the folder holds "
    "the expression alone, else left out",
    "several-copies": "a clip that is there more than once: one copy is used",
    "not-micro": "material that shows no micro-expression or is of another camera: left out",
    "no-onset": "the onset is not annotated, and the folder holds more than the expression: left out",
    "no-frames": "fewer than two frames can be used: left out",
    "no-clip": "files that are neither frames nor videos by their names, nor documents: left out",
    "no-face": "no face in the onset frame or shortly after it: left out, or used whole with --on-missing whole",
    "doubtful-face": "what was found may be no face, or a covered one: left out, or used with --keep-doubtful",
    "not-in-labels": "a clip without a row in the table of labels: kept, without labels",
    "columns": "columns of the table of labels that are not read, or are not there",
    # what is put right
    "apex-not-a-number": "the apex cell holds no number: no apex",
    "apex-outside": "the apex lies outside onset … offset: no apex",
    "apex-at-the-end": "the apex is annotated at the onset or the offset: kept so; where a clip is retimed, the frame "
    "that moves most counts",
    "apex-frame-missing": "the apex frame is not on disk: its position is that of the nearest frame",
    "onset-not-a-number": "the onset cell holds no number: the first frame on disk counts",
    "offset-not-a-number": "the offset cell holds no number: the last frame on disk counts",
    "offset-before-onset": "the offset lies before the onset: the last frame on disk counts",
    "offset-beyond": "the offset lies after the last frame on disk: the last frame on disk counts",
    "onset-before": "the onset lies before the first frame on disk: the first frame on disk counts",
    "renumbered": "the frames on disk carry other numbers than the sheet, but are as many: the first is the onset",
    "numbers-unrelated": "the sheet's numbers do not fit the frames on disk: all frames are used, without annotations",
    "missing-frames": "numbers are missing between the first and the last frame: the clip jumps there",
    "frame-without-number": "a picture without a number in its name: left out",
    "frame-twice": "two pictures of one frame number: the first one counts",
    "frame-named-otherwise": "a picture named otherwise than most of its folder: left out",
    "numbered-by-order": "no number in the frames' names rises from frame to frame: they are numbered from 0, in "
    "natural order of their names",
    "unreadable-frame": "a frame that no decoder reads: left out of its clip",
    "frame-size": "a frame of another size than its clip: left out of it",
    "label-conflict": "the folder and the clip's name give different emotions: the name counts",
    "face-in-later-frame": "no face in the onset frame, but in one shortly after it: the crop comes from that one",
    "several-faces": "several faces in the onset frame: the largest is used, or the one that --face says",
    # what is only said
    "subjects": "by what it is known who a clip shows",
    "empty-split": "no clip for training, or none for testing",
    "proposed": "onset, apex or offset that no coder gave: proposed from the motion of the face, see clips.csv",
    "nothing-proposed": "onset, apex or offset that no coder gave, and none is proposed: no face, or it hardly moves",
    "labels-kept": "the table of labels was edited: it is left as it is",
    "as-recorded": "a video out of the ordinary, as by a varying frame rate: all its frames are used as they are",
    "rate-overruled": "a video that says another frame rate than is given: the given one is used",
    "several-sheets": "several coding sheets: one is used",
    "no-sheet": "imported without the coding sheet, as asked for: no annotations",
    "class-of-one": "an emotion or class with a single clip",
    "count": "another number of clips than published",
    "ambiguous-challenge-clip": "a clip of the challenge that may be any of several: all are kept out of train",
    "challenge-clip-absent": "a clip of the challenge that is not there",
    "already-cropped": "the frames are cut to the face already: they are resized only (--crop says otherwise)",
    "stale-clip": "a clip of an earlier run that the corpus no longer has: left where it is, and out of clips.csv",
}


@dataclass(frozen=True)
class Notice:
    """One thing that was not as it should be, and what was done; ``clip`` is empty where it concerns all."""

    rule: str
    clip: str
    text: str

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"unknown rule {self.rule!r}; legal are {', '.join(RULES)}")
