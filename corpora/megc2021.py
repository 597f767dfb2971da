"""The generation task of MEGC 2021: nine source clips of three corpora and two faces to move → a test set.

As it was handed out (``MEGC2021_generation.zip``):

    source_samples/casme2_challenge/EP19_06f/…    also SAMM_challenge, Smic_challenge
    target_template_face/normalized_westernMale.jpg, normalized_asianFemale.jpg

Everything goes to ``test/``, the faces as clips of one frame; ``data/megc2021_pairs.csv`` lists the paper's pairs.
"""

from __future__ import annotations

import re

import media
from corpora import CORPUS_FPS
from corpora.coded import Source
from corpora.raw import Layout, Listing, RawClip, RawFrame, explain_absence, is_whole_clip, numbered_frames
from corpora.splits import CHALLENGE_FILE, read_challenge

SETS = {"casme": "casme2", "samm": "samm", "smic": "smic_hs"}  # how a folder's name begins: the corpus
STILL_FPS = 1.0  # of a picture
TARGETS = ("normalized_westernMale", "normalized_asianFemale")

LAYOUT = Layout(
    corpus="megc2021",
    title="the MEGC 2021 generation task",
    pattern=re.compile(r"/(?P<set>(?:casme2|samm|smic)_challenge)/(?P<clip>[^/]+)$", re.I),
    clip=re.compile(r"EP\w+|\d{3}_\d+_\d+|s\d+_(?:ne|po|sur)_\d+", re.I),
    subject=re.compile(r"(?:casme2|samm|smic)_challenge", re.I),
    expected="source_samples/{casme2,SAMM,Smic}_challenge/<clip>/… and target_template_face/*.jpg",
)


def read(source: Source) -> Listing:
    """Clips and faces.

    Raises:
        CorpusError: no clips.
    """
    tree, listing = source.tree, Listing()
    found = LAYOUT.find(tree)
    if not found:
        raise explain_absence(tree, LAYOUT, source.layouts)
    known = {entry.clip.lower(): entry for entry in read_challenge(CHALLENGE_FILE)}
    for folder, match in found:
        name = match["clip"]
        entry = known.pop(name.lower(), None)
        corpus = next(corpus for start, corpus in SETS.items() if match["set"].lower().startswith(start))
        frames = numbered_frames(tree.images(folder), name, listing)
        if not is_whole_clip(frames, name, folder, listing):
            continue
        # SAMM and SMIC name the subject in the clip; of CASME II's clips one is known.
        subject = entry.subject if entry else ""
        if not subject and not name.upper().startswith("EP"):
            subject = name.split("_")[0]
        clip = RawClip(
            name=name, corpus_name=name, corpus=corpus, subject=subject, source=folder, fps=CORPUS_FPS[corpus],
            frames=frames, class3=entry.class3 if entry else "", split="test",
        )  # fmt: skip
        listing.clips.append(clip)
    for entry in known.values():
        listing.note("challenge-clip-absent", entry.clip, f"of {entry.corpus}, not in {tree.root}")
    _add_faces(source, listing)
    return listing.finish()


def _add_faces(source: Source, listing: Listing) -> None:
    for folder in source.tree.image_folders():
        if "target" not in folder.lower().split("/")[-1]:
            continue
        for file in source.tree.images(folder):
            name = media.clip_name(file.name)
            face = RawClip(
                name=name, corpus_name=name, corpus="megc2021", subject=name, source=f"{folder}/{file.name}",
                fps=STILL_FPS, frames=(RawFrame(0, file),), split="test",
            )  # fmt: skip
            listing.clips.append(face)
    there = {clip.name for clip in listing.clips}
    for name in TARGETS:
        if name not in there:
            listing.note("challenge-clip-absent", name, "a face to move, expected in target_template_face")
