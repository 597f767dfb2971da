"""What a corpus's module hands on: raw clips with their annotations, and notices about what was not as it should be."""

from __future__ import annotations

import hashlib
import itertools
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import media
from corpora.rules import Notice
from corpora.tree import CorpusError, RawFile, Tree
from media.fingerprint import digest
from media.names import composed, name_problem


@dataclass(frozen=True)
class RawFrame:
    """A frame on disk: its number in the corpus, and its file."""

    number: int
    file: RawFile


@dataclass(frozen=True)
class RawClip:
    """One clip of a raw corpus; what is said of no field here, :class:`corpora.ClipRecord` says."""

    name: str  # unique among all clips, stable across runs: ``sub19_EP01_01f``
    corpus_name: str  # as the corpus calls it: ``EP01_01f``
    corpus: str
    subject: str
    source: str  # where the frames are, for people
    fps: float | None
    frames: tuple[RawFrame, ...] = ()  # in time order; empty for a video
    video: RawFile | None = None  # file of a video that is decoded as a whole
    # Frame numbers, None where unknown.
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    action_units: str = ""
    emotion: str = ""
    class3: str = ""
    objective_class: str = ""
    cropped: bool = False  # the frames are cut to the face already
    split: str | None = None  # ``train`` or ``test`` where the corpus itself says
    spot: bool = False  # propose onset, apex and offset where they are None

    def uses(self, number: int) -> bool:
        """Whether a frame is not before the onset, nor after the offset."""
        return (self.onset is None or number >= self.onset) and (self.offset is None or number <= self.offset)

    @property
    def stamp(self) -> str:
        """Changes whenever the raw frames, or which of them belong to the clip, change; with their dates too."""
        if self.video is not None:
            return " ".join((self.video.stamp, *self._ends()))
        return " ".join(f"{frame.number}:{frame.file.stamp}" for frame in self.frames)

    def content(self) -> str:
        """Changes with the bytes of the raw frames, and with which of them belong to the clip; they are read.

        Raises:
            OSError: a file that cannot be read.
        """
        files = {frame.number: frame.file for frame in self.frames} if self.video is None else {0: self.video}
        parts: list = [*self._ends()]
        for number, file in files.items():
            with file.open() as stream:
                parts.append((number, hashlib.file_digest(stream, "blake2b").hexdigest()))
        return digest(*parts)

    def _ends(self) -> list[str]:
        """What of a video is used, where that is not all of it."""
        ends = () if self.video is None else (self.onset, self.offset)
        return [str(ends)] if any(end is not None for end in ends) else []


@dataclass
class Listing:
    """The clips of a corpus, in natural order of their names, and what there is to say about them."""

    clips: list[RawClip] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def note(self, rule: str, clip: str, text: str) -> None:
        self.notices.append(Notice(rule, clip, text))

    def finish(self, published: tuple[int, ...] = ()) -> Listing:
        """Sort, and note classes of one clip and a number of clips that is none of the ``published`` ones."""
        for clip in self.clips:
            if problem := name_problem(clip.name, foreign=True):
                raise CorpusError(f"the clip {clip.name!r} ({clip.source!r}) {problem}. Rename it")
        self.clips.sort(key=lambda clip: media.natural_key(clip.name))
        for what in ("emotion", "objective_class"):
            counts = Counter(getattr(clip, what) for clip in self.clips if getattr(clip, what))
            for label, count in counts.items():
                if count == 1 and len(counts) > 1:
                    alone = next(clip.name for clip in self.clips if getattr(clip, what) == label)
                    self.note("class-of-one", alone, f"the only clip of {what.replace('_', ' ')} {label}")
        if published and len(self.clips) not in published:
            expected = " or ".join(map(str, published))
            self.note("count", "", f"{len(self.clips)} clips; published: {expected}")
        return self


# ------------------------------------------------------------------------------------------------------ layouts
@dataclass(frozen=True)
class Layout:
    """Where a corpus keeps its clips."""

    corpus: str  # its name on the command line
    title: str  # its name in messages
    pattern: re.Pattern  # of the end of a clip folder's path below the raw folder; groups ``subject`` and ``clip``
    # Of the name of a clip's folder and of a subject's, to recognise a wrong level.
    clip: re.Pattern
    subject: re.Pattern
    expected: str  # the tree, for messages

    def find(self, tree: Tree) -> list[tuple[str, re.Match]]:
        """The clip folders, with what their paths say."""
        found = [(folder, self.pattern.search("/" + folder)) for folder in tree.image_folders()]
        return [(folder, match) for folder, match in found if match]


def explain_absence(tree: Tree, layout: Layout, others: Iterable[Layout]) -> CorpusError:
    """Why no clip of ``layout`` was found: another corpus, the wrong level, or what there is instead."""
    start = f"no clip of {layout.title} in {tree.root}"
    folders, names = tree.image_folders(), tree.names("")
    for other in others:
        count = len(other.find(tree))
        if other.corpus != layout.corpus and count:
            return CorpusError(
                f"{start}: it looks like {other.title} ({count} clips). Did you mean: "
                f"python prepare.py {other.corpus} --raw {tree.root}"
            )
    expected = f"Expected in it: {layout.expected}"
    if "" in folders and layout.clip.fullmatch(names[-1]):
        return CorpusError(f"{start}: it is the folder of a single clip. Give a folder further up. {expected}")
    if layout.subject.fullmatch(names[-1]) and any(layout.clip.fullmatch(folder.split("/")[-1]) for folder in folders):
        return CorpusError(f"{start}: it is the folder of a single subject or set. Give the folder above. {expected}")
    return CorpusError(f"{start}. {expected}. Found: {describe(tree)}")


def describe(tree: Tree) -> str:
    """What a tree holds, in a line."""
    folders = tree.image_folders()
    if folders:
        shown = ", ".join(f"{folder or '.'} ({len(tree.images(folder))})" for folder in folders[:4])
        text = f"pictures in {len(folders)} folders: {shown}{' …' if len(folders) > 4 else ''}"
    else:
        count = sum(map(len, tree.folders.values()))
        top = media.natural_sorted({path.split("/")[0] for path, _ in tree.files()})
        text = f"no pictures; {count} other files: {', '.join(top[:6])}" if count else "nothing at all"
    if tree.packed:
        text += f". Archives that must be unpacked first: {', '.join(tree.packed[:4])}"
    return text


# ------------------------------------------------------------------------------------------------------ frames
def _shape(name: str) -> str:
    """A file's name without its suffix, all numbers taken for alike: ``reg_img46.jpg`` → ``reg_img#``."""
    return re.sub(r"\d+", "#", composed(name.rpartition(".")[0]).lower())


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", name.rpartition(".")[0])))


def numbered_frames(files: Sequence[RawFile], clip: str, listing: Listing) -> tuple[RawFrame, ...]:
    """Picture files, in natural order, as frames in that order.

    A frame's number is the one in the names that rises from frame to frame (``frame_00001_0.png``: the first one);
    names without it, such as times of day, are numbered from 0.  Pictures named otherwise than most are left out.
    """
    shapes = Counter(_shape(file.name) for file in files)
    usual, count = max(shapes.items(), key=lambda item: item[1], default=("", 0))
    alike: dict[tuple, RawFile] = {}
    for file in files:
        shape, numbers = _shape(file.name), _numbers(file.name)
        if not numbers:
            listing.note("frame-without-number", clip, file.name)
        elif shape != usual and count > len(files) / 2:
            listing.note("frame-named-otherwise", clip, f"{file.name}; {count} are called like {usual}")
        elif (other := alike.setdefault((shape, numbers), file)) is not file:
            listing.note("frame-twice", clip, f"{other.name} is used, {file.name} is not")
    kept = list(alike.values())
    rising = _rising_numbers(kept)
    if rising is None:
        listing.note("numbered-by-order", clip, f"{kept[0].name} is the first of {len(kept)}, {kept[-1].name} the last")
    return tuple(RawFrame(number, file) for number, file in zip(rising or range(len(kept)), kept, strict=True))


def _rising_numbers(files: Sequence[RawFile]) -> Sequence[int] | None:
    """The numbers in the names that rise from file to file, the densest of several, of equally dense ones the last."""
    backwards = (_numbers(file.name)[::-1] for file in files)  # names may differ in how many numbers they begin with
    columns = zip(*backwards, strict=False)
    rising = [column for column in columns if all(a < b for a, b in itertools.pairwise(column))]
    return min(rising, key=lambda column: column[-1] - column[0], default=None) if files else ()


def ranges(parts: Iterable[tuple[int, int]]) -> str:
    """First and last numbers in short: 3, 5–7."""
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in parts)


def fit_annotations(clip: RawClip, listing: Listing, alone: bool) -> RawClip | None:
    """Cut a clip to onset … offset and settle what does not fit, by the named rules.

    Args:
        clip: with the sheet's numbers, None where the cell holds none.
        listing: takes the notices.
        alone: the folder holds the expression alone, so its ends can stand in for the sheet's.

    Returns:
        The clip, or None where it has to be left out.
    """
    if not clip.frames:
        listing.note("no-frames", clip.name, f"no numbered pictures in {clip.source}")
        return None
    if clip.onset is not None and clip.offset is not None:
        clip = _match_numbers(clip, listing)
    clip = _settle_ends(clip, listing, alone)
    if clip is None:
        return None
    clip = _settle_apex(clip, listing)
    kept = tuple(frame for frame in clip.frames if clip.onset is None or clip.onset <= frame.number <= clip.offset)
    _note_gaps(kept, clip.name, listing)
    return replace(clip, frames=kept)


def is_whole_clip(frames: Sequence[RawFrame], clip: str, source: str, listing: Listing) -> bool:
    """Whether the frames of a folder are enough for a clip; too few of them are noted, and gaps."""
    if len(frames) < 2:
        listing.note("no-frames", clip, f"{len(frames)} numbered pictures in {source}")
        return False
    _note_gaps(frames, clip, listing)
    return True


def _note_gaps(frames: Sequence[RawFrame], clip: str, listing: Listing) -> None:
    """Say which numbers are missing between the first frame and the last, by the step that is usual in this clip."""
    numbers = [frame.number for frame in frames]
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    usual = statistics.median_low(steps) if steps else 1
    jumps = [(a, (b - a + usual // 2) // usual - 1) for a, b in itertools.pairwise(numbers)]
    missing = sum(count for _, count in jumps)
    if missing:
        gaps = [(a + usual, a + count * usual) for a, count in jumps if count > 0]
        listing.note("missing-frames", clip, f"{missing} of {missing + len(numbers)} frames: {ranges(gaps)}")


def _match_numbers(clip: RawClip, listing: Listing) -> RawClip:
    """Frames on disk that carry other numbers than the sheet."""
    first, last = clip.frames[0].number, clip.frames[-1].number
    if clip.offset < clip.onset or (first <= clip.offset and clip.onset <= last):
        return clip
    where = f"sheet {clip.onset}–{clip.offset}, on disk {first}–{last}"
    if len(clip.frames) == clip.offset - clip.onset + 1:
        listing.note("renumbered", clip.name, where)
        frames = tuple(RawFrame(clip.onset + i, frame.file) for i, frame in enumerate(clip.frames))
        return replace(clip, frames=frames)
    listing.note("numbers-unrelated", clip.name, where)
    return replace(clip, onset=first, apex=None, offset=last)


def _settle_ends(clip: RawClip, listing: Listing, alone: bool) -> RawClip | None:
    first, last, onset, offset = clip.frames[0].number, clip.frames[-1].number, clip.onset, clip.offset
    if onset is None:
        if not alone:
            listing.note("no-onset", clip.name, f"frames {first}–{last} on disk in {clip.source}")
            return None
        listing.note("onset-not-a-number", clip.name, f"onset {first}")
        onset = first
    elif onset < first:
        listing.note("onset-before", clip.name, f"onset {onset}, first frame on disk {first}")
        onset = first
    if offset is None or offset < onset:
        if not alone:
            listing.note("no-onset", clip.name, f"offset {offset}, onset {onset}; frames {first}–{last} on disk")
            return None
        rule = "offset-not-a-number" if offset is None else "offset-before-onset"
        listing.note(rule, clip.name, f"offset {offset}, onset {onset}; {last} is used")
        offset = last
    elif offset > last:
        listing.note("offset-beyond", clip.name, f"offset {offset}, last frame on disk {last}")
        offset = last
    return replace(clip, onset=onset, offset=offset)


def _settle_apex(clip: RawClip, listing: Listing) -> RawClip:
    if clip.apex is None:
        return clip
    if not clip.onset <= clip.apex <= clip.offset:
        listing.note("apex-outside", clip.name, f"apex {clip.apex}, onset {clip.onset}, offset {clip.offset}")
        return replace(clip, apex=None)
    if clip.apex in (clip.onset, clip.offset):
        end = "onset" if clip.apex == clip.onset else "offset"
        listing.note("apex-at-the-end", clip.name, f"apex {clip.apex} is the {end}")
    if all(frame.number != clip.apex for frame in clip.frames):
        listing.note("apex-frame-missing", clip.name, f"apex {clip.apex}")
    return clip
