"""What this program did not write is neither replaced nor removed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import media
from media.ownership import MARK, MARKER, bears_mark, check_apart, is_output_folder

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)


def listing(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with what it holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "frames"])
def test_clips_say_whose_they_are(users_folder, name):
    path = users_folder / name
    media.write_clip(path, FRAMES, 25)
    assert all(bears_mark(file) for file in (path.iterdir() if path.is_dir() else [path]))
    media.write_clip(path, FRAMES[:2], 25)  # what is ours may be replaced
    assert len(media.open_clip(path)) == 2


@pytest.mark.parametrize("write", [media.write_image, lambda path, image: path.write_bytes(media.fast_png(image))])
def test_pictures_say_whose_they_are_and_hold_the_same_pixels(users_folder, write):
    write(users_folder / "x.png", FRAMES[0])
    with Image.open(users_folder / "x.png") as image:
        image.load()
        assert image.text == {"Software": MARK.decode()}
    assert bears_mark(users_folder / "x.png")
    np.testing.assert_array_equal(media.read_image(users_folder / "x.png"), FRAMES[0])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "strip.png"])
def test_a_foreign_file_stays(users_folder, name):
    (users_folder / name).write_bytes(b"a thesis")
    before = listing(users_folder)
    with pytest.raises(media.OutputError, match=rf"{name} is there and was not written by this program.*Choose"):
        media.write_image(users_folder / name, FRAMES[0])
    assert listing(users_folder) == before


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("foreign", ["thesis.docx", "0000007.PNG", "sub/0000000.png", ".hidden"])
def test_a_folder_of_frames_with_something_foreign_stays(users_folder, foreign, marked):
    folder = users_folder / "result"
    media.write_frame_folder(folder, FRAMES)
    if marked:
        (users_folder / MARKER).touch()
    (folder / foreign).parent.mkdir(exist_ok=True)
    (folder / foreign).write_bytes(b"mine")
    before = listing(users_folder)
    for change in (lambda: media.write_frame_folder(folder, FRAMES), lambda: media.remove_own(folder)):
        with pytest.raises(media.OutputError, match=f"holds {foreign.split('/')[0]}"):
            change()
    assert listing(users_folder) == before


def test_clips_without_the_mark_are_nobody_s_wherever_they_lie(users_folder):
    """A user may put others in their place, or may have marked a folder by hand that is none of ours."""
    media.open_output_folder(users_folder / "out", "--out", "tests", {})
    (users_folder / "out" / "frames").mkdir()
    Image.fromarray(FRAMES[0]).save(users_folder / "out" / "frames" / "0000000.png")
    (users_folder / "out" / "clip.gif").write_bytes(b"GIF89a")
    before = listing(users_folder)
    for write in (
        lambda: media.write_frame_folder(users_folder / "out" / "frames", FRAMES),
        lambda: media.write_clip(users_folder / "out" / "clip.gif", FRAMES, 25),
        lambda: media.remove_own(users_folder / "out" / "frames"),
    ):
        with pytest.raises(media.OutputError, match="(did not write|was not written).*left as it is"):
            write()
    assert listing(users_folder) == before


def test_an_empty_mark_takes_the_kind_of_what_is_written_first(users_folder):
    (users_folder / "out").mkdir()
    (users_folder / "out" / "notes.txt").touch()
    (users_folder / "out" / MARKER).touch()  # as the message says where an earlier version has made the folder
    media.open_output_folder(users_folder / "out", "--out", "key points", {})
    with pytest.raises(media.OutputError, match="holds key points, and not a sample"):
        media.open_output_folder(users_folder / "out", "--out", "a sample", {})


def test_what_lies_in_a_marked_folder_is_ours_by_its_name(users_folder):
    media.open_output_folder(users_folder / "out", "--out", "tests", {})
    assert is_output_folder(users_folder / "out" / "deeper") and not is_output_folder(users_folder)
    table = users_folder / "out" / "table.csv"
    table.write_text("old")
    with media.atomic_path(table) as temporary:
        temporary.write_text("new")
    assert table.read_text() == "new"


def test_a_mark_at_the_end_of_a_long_file_is_found(users_folder):
    (users_folder / "long.mp4").write_bytes(bytes(200_000) + MARK + bytes(1000))
    assert bears_mark(users_folder / "long.mp4")
    (users_folder / "long.mp4").write_bytes(bytes(100_000) + MARK + bytes(100_000))  # somewhere in what is shown
    assert not bears_mark(users_folder / "long.mp4")


# ------------------------------------------------------------------------------------------------ whole commands
def test_an_output_that_is_an_input_is_refused(users_folder):
    clip = users_folder / "clip.mp4"
    media.write_clip(clip, FRAMES, 25)  # ours, and yet an input
    os.link(clip, users_folder / "linked.mp4")
    (users_folder / "to").symlink_to(clip)
    for result in ("clip.mp4", "../" + users_folder.name + "/clip.mp4", "linked.mp4", "to"):
        with pytest.raises(media.OutputError, match="--result .* is --driving too"):
            media.check_outputs({"--result": users_folder / result}, {"--source": None, "--driving": clip})
    with pytest.raises(media.OutputError, match=r"--compare .* is --result too"):
        media.check_outputs({"--result": users_folder / "new.gif", "--compare": users_folder / "new.gif"}, {})
    media.check_outputs({"--result": users_folder / "new.gif", "--compare": None}, {"--driving": clip})


def test_a_folder_of_frames_that_holds_an_input_is_refused(users_folder):
    folder = users_folder / "frames"
    media.write_frame_folder(folder, FRAMES)
    with pytest.raises(media.OutputError, match="--result .* holds --source"):
        media.check_outputs({"--result": folder}, {"--source": folder / "0000000.png"})


def test_an_output_folder_is_new_or_empty_or_ours(users_folder):
    folder = users_folder / "out"
    folder.mkdir()
    (folder / ".DS_Store").touch()  # a system's
    assert media.open_output_folder(folder, "--out", "tests", {}) == folder
    (folder / "notes.txt").write_text("mine")
    media.open_output_folder(folder, "--out", "tests", {})  # further files of the user stay, under names of their own
    (folder / MARKER).unlink()
    with pytest.raises(media.OutputError, match=r"--out .*out holds notes.txt.*touch '.*out/.fpb-fomm'"):
        media.open_output_folder(folder, "--out", "tests", {})
    media.open_output_folder(folder, "--out", "tests", {}, ours=True)
    assert (folder / MARKER).is_file() and (folder / "notes.txt").read_text() == "mine"


def test_an_output_folder_that_is_an_input_or_a_file_is_refused(users_folder):
    with pytest.raises(media.OutputError, match="--out .* is --root too"):
        media.open_output_folder(users_folder, "--out", "tests", {"--root": users_folder / "x" / "..", "--sheet": None})
    (users_folder / "file").touch()
    with pytest.raises(media.OutputError, match="a file is where a folder is needed"):
        media.open_output_folder(users_folder / "file", "--out", "tests", {})


def test_a_name_that_the_user_chose_says_nothing_of_whose_a_file_is(users_folder):
    media.open_output_folder(users_folder / "data", "--out", "tests", {})
    (users_folder / "data" / "talk.mp4").write_bytes(b"mine")
    media.write_frame_folder(users_folder / "data" / "train" / "clip", FRAMES)
    media.write_clip(users_folder / "data" / "result.mp4", FRAMES, 25)
    for name in ("talk.mp4", "train/clip"):
        with pytest.raises(media.OutputError, match="left as it is"):
            media.check_outputs({"--result": users_folder / "data" / name}, {})
    media.check_outputs({"--result": users_folder / "data" / "result.mp4"}, {})


def test_a_folder_of_another_kind_is_refused(users_folder):
    media.open_output_folder(users_folder / "out", "--out", "key points", {})
    media.open_output_folder(users_folder / "out", "--out", "key points", {})
    with pytest.raises(media.OutputError, match="holds key points, and not a sample: choose another folder"):
        media.open_output_folder(users_folder / "out", "--out", "a sample", {})


def test_links_are_not_taken_for_what_they_lead_to(users_folder):
    (users_folder / "later.mp4").symlink_to("not there yet.mp4")
    with pytest.raises(media.OutputError):
        media.write_clip(users_folder / "later.mp4", FRAMES, 25)
    (users_folder / "mine").mkdir()
    (users_folder / "mine" / "0000000.png").write_bytes(b"mine")
    media.open_output_folder(users_folder / "set", "--out", "tests", {})
    (users_folder / "set" / "clip").symlink_to(users_folder / "mine")
    with pytest.raises(media.OutputError):
        media.remove_own(users_folder / "set" / "clip")
    media.write_frame_folder(users_folder / "frames", FRAMES)
    (users_folder / "set" / "other").symlink_to(users_folder / "frames")
    media.remove_own(users_folder / "set" / "other")  # the link alone
    assert len(list((users_folder / "frames").iterdir())) == len(FRAMES)


def test_all_that_is_to_be_removed_is_looked_at_first(users_folder):
    for name in ("a", "b"):
        media.write_frame_folder(users_folder / name, FRAMES)
    (users_folder / "b" / "thesis.docx").touch()
    with pytest.raises(media.OutputError, match="thesis"):
        media.remove_own(users_folder / "a", users_folder / "b")
    assert (users_folder / "a").is_dir()


def test_a_place_that_cannot_be_is_refused_before_the_work(users_folder):
    (users_folder / "thesis.docx").touch()
    with pytest.raises(media.OutputError, match=r"--result .*thesis.docx is a file where a folder is needed"):
        media.check_outputs({"--result": users_folder / "thesis.docx" / "deep" / "x.mp4"}, {})
    media.check_outputs({"--result": users_folder / "new" / "deep" / "x.mp4"}, {})


def test_run_folders_do_not_go_into_data_sets(users_folder):
    media.open_output_folder(users_folder / "set", "--out", "a sample", {})
    for folder in ("set", "set/train", "set/log"):
        with pytest.raises(media.OutputError, match="--log_dir .*set holds a sample; choose another"):
            check_apart(users_folder / folder, "--log_dir", "a training run", {})
    with pytest.raises(media.OutputError, match="--log_dir .*own/train is, or lies in, root_dir: choose another"):
        check_apart(users_folder / "own/train", "--log_dir", "a training run", {"root_dir": users_folder / "own"})
    check_apart(users_folder / "log", "--log_dir", "a training run", {"root_dir": users_folder / "own", "pairs": None})


def test_errors_of_the_system_are_said_in_words(users_folder):
    (users_folder / "file").touch()
    for call, words in ((os.mkdir, "File exists"), (os.listdir, "Not a directory")):
        with pytest.raises(OSError) as caught:
            call(users_folder / "file")
        assert media.describe_error(caught.value) == f"{words}: {users_folder / 'file'}"
    assert media.describe_error(OSError("said already")) == "said already"
