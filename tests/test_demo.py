"""The demo: any photo and any clip, put back into the photo; every option does what it says; bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import demo
from benchmarks.sample_clips import sample_clip
from checkpoint import write_checkpoint
from corpora import ClipRecord, read_clips, write_clips
from faces.photo import FaceCutter
from media import open_clip, read_image, write_clip, write_frame_folder, write_image
from metrics.canonical import MetricError
from modules import build_networks
from modules.motion_control import REGIONS
from tests.conftest import training_config
from tests.faces.pictures import dlib_detector, noise, portrait

FRAMES = 8
SIZE = 64


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A photo, a driving clip with its row in clips.csv, and a tiny model of 64×64 frames, made once."""
    root = tmp_path_factory.mktemp("demo")
    write_image(root / "face.png", portrait("hopper"))
    clip = sample_clip(seed=3, movement="happiness", amplitude_px=12.0, frames=FRAMES, head=0.0)
    write_frame_folder(root / "set" / "test" / "smile", clip.frames)
    write_clips(root / "set" / "clips.csv", [
        ClipRecord("smile", "test", "sample", "s3", "", 200.0, FRAMES, onset_index=1, apex_index=4, offset_index=6)
    ])  # fmt: skip
    config = training_config("fpb_tracked", root)
    config["model_params"]["common_params"]["align_corners"] = True
    generator = config["model_params"]["generator_params"]
    # With these starting values, the source warped by the measured field.
    generator["dense_motion_params"].update(locality=0.015, field_bias=12, occlusion_bias=6)
    for name, blend in (("model", True), ("painter", False)):  # the latter paints all by itself, in random colours
        generator["blend_source"] = blend
        torch.manual_seed(0)
        states = {name: network.state_dict() for name, network in build_networks(config).items()}
        write_checkpoint(root / f"{name}.pth", {**states, "config": config})
    return root


@pytest.fixture
def make(inputs, tmp_path, monkeypatch):
    """``make("--amplify", "2")`` runs the demo with further options; returns the path it ends with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "make_detector", lambda name: dlib_detector())
    monkeypatch.setattr("evaluate.score_beside", unmeasured)

    def made(*options: str) -> Path:
        given = ["--driving", str(inputs / "set" / "test" / "smile")] * (not {"--driving", "--score"} & {*options})
        given += ["--source", str(inputs / "face.png")] * ("--source" not in options)
        return demo.run(demo.build_parser().parse_args(
            [*given, "--checkpoint", str(inputs / "model.pth"), "--cpu", *options]
        ))  # fmt: skip

    return made


def unmeasured(*clips: np.ndarray) -> None:
    """In place of the figures, which take seconds."""
    raise MetricError("nobody looked")


def lossless(video: Path) -> np.ndarray:
    return open_clip(video.parent / "png" / video.stem).read_all()


def crops(make, *options: str) -> np.ndarray:
    """The animated crops themselves."""
    return open_clip(make("--no-paste", "--result", "crop", *options)).read_all()


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


# ------------------------------------------------------------------------------------------ results
def test_the_face_moves_in_the_full_photo(make, inputs):
    """Outside the face nothing changes; inside, it moves; the border between is soft."""
    video = make("--result", "out.mp4")
    assert video == Path("out.mp4") and open_clip(video).fps == pytest.approx(200)
    photo, frames = read_image(inputs / "face.png"), lossless(video)
    assert frames.shape == (FRAMES, *photo.shape)
    changed = (frames != photo).any((0, 3))
    rows, columns = np.nonzero(changed)
    box = rows.min(), rows.max(), columns.min(), columns.max()
    assert 80 < box[1] - box[0] < 350, "a square around the face"
    assert abs((box[1] - box[0]) - (box[3] - box[2])) < 20
    border = frames[0, (box[0] + box[1]) // 2, box[2] : box[2] + 3].astype(int)
    beside = photo[(box[0] + box[1]) // 2, box[2] : box[2] + 3].astype(int)
    assert np.abs(border - beside).max() < 30, "fades in"
    assert difference(frames[0], frames[4]) > 10
    assert not np.array_equal(frames[4][changed], photo[changed])


def test_a_photo_finer_than_the_crop_stays_as_fine(make, tmp_path, inputs):
    """The crop of this face is 64 pixels wide, the face itself 250: at rest the photo comes back, pixel by pixel,
    and in movement its detail moves along."""
    photo = read_image(inputs / "face.png")
    still = lossless(make("--amplify", "0", "--result", "still.mp4"))
    assert np.abs(still[0].astype(int) - photo).mean() < 0.3
    moved = lossless(make("--result", "moved.mp4"))[4]
    changed = (moved != photo).any(-1)
    assert changed.mean() > 0.01

    def detail(image: np.ndarray) -> float:
        grey = image.astype(float).mean(-1)
        return float((grey[1:] - grey[:-1])[changed[1:]].std())

    assert detail(moved) > 0.85 * detail(photo)


def test_writing_meanwhile_changes_nothing(make, monkeypatch):
    """Neither the pictures nor where the photo's detail goes."""
    expected = lossless(make("--result", "before.mp4"))
    monkeypatch.setattr("media.threads.threads_pay", lambda device: True)
    assert np.array_equal(lossless(make("--result", "meanwhile.mp4")), expected)


def test_the_crop_alone(make):
    frames = crops(make)
    assert frames.shape == (FRAMES, SIZE, SIZE, 3)
    assert difference(frames[0], frames[4]) > 10


def test_names_follow_from_the_inputs(make):
    assert make() == Path("demo/smile-face.mp4")
    assert make("--out", "elsewhere") == Path("elsewhere/smile-face.mp4")
    assert Path("elsewhere/png/smile-face").is_dir()


def test_slow_motion_keeps_every_frame(make):
    slow = open_clip(make("--result", "slow.mp4", "--no-paste", "--slow", "4"))
    assert slow.fps == pytest.approx(50) and len(slow) == FRAMES


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_comparison(make, capsys, suffix):
    compared = make("--result", "out.mp4", "--no-paste", "--compare", f"side{suffix}")
    assert compared == Path(f"side{suffix}")
    frames = open_clip(compared).read_all()
    assert frames.shape[0] == FRAMES and frames.shape[2] >= 3 * SIZE
    assert "shown 8 times slower" in capsys.readouterr().out
    assert make("--result", "out.mp4", "--no-paste", "--compare") == Path("out-compare.gif")


def test_a_wide_photo_is_no_strip_of_frames(make, tmp_path, inputs):
    photo = read_image(inputs / "face.png")
    height, width = photo.shape[:2]
    write_image(tmp_path / "wide.png", np.pad(photo, ((0, 0), (0, 2 * height - width), (0, 0))))
    video = make("--source", "wide.png", "--result", "out.mp4")
    assert open_clip(video).first().shape == (height, 2 * height, 3)


def test_a_gif_says_the_rate_it_plays_at(make, capsys):
    make("--result", "out.gif", "--no-paste")
    assert "200 frames a second, but a GIF plays at 50" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ movement
def test_strength(make):
    still, half, plain, double = (crops(make, "--amplify", a) for a in ("0", "0.5", "1", "2"))
    assert difference(still, still[:1]) == 0
    change = [np.abs(frames.astype(float) - still).mean() for frames in (half, plain, double)]
    assert 0 < change[0] < change[1] < change[2]


def test_regions(make):
    plain, part = crops(make), crops(make, "--regions", "mouth:left,brows")
    assert difference(plain, part) > 5
    assert difference(part[0], part[4]) > 5


def test_head_motion_is_an_option(make):
    assert difference(crops(make), crops(make, "--head", "remove")) == 0
    assert difference(crops(make), crops(make, "--head", "keep")) > 2


def test_reference(make):
    """The movement starts from the annotated onset, frame 1, unless asked otherwise."""
    onset, first, one = crops(make), crops(make, "--reference", "0"), crops(make, "--reference", "1")
    assert np.array_equal(onset, one) and difference(onset, first) > 2
    assert crops(make, "--reference", "auto").shape == onset.shape


def test_colour(make, inputs):
    """Colours are the photo's, whatever the model paints."""
    from frames_dataset import to_tensor
    from modules.colour import chrominance

    painter = ["--amplify", "0", "--checkpoint", str(inputs / "painter.pth")]
    model, photo = crops(make, *painter), crops(make, *painter, "--colour", "source")
    crop = demo.Crop(SIZE, "square", demo.MARGIN)
    source = FaceCutter(dlib_detector(), crop, only_first=True)(inputs / "face.png").clip.frames
    unclipped = ((photo[0] > 2) & (photo[0] < 253)).all(-1)

    def error(frames: np.ndarray) -> float:
        there, wanted = (chrominance(to_tensor(f[:1])).numpy()[0] for f in (frames, source))
        return float(np.abs(there - wanted)[:, unclipped].mean())

    assert error(photo) < 0.01 < error(model)


# ------------------------------------------------------------------------------------------ time
@pytest.mark.parametrize("rate", [25, 60, 100, 200])
def test_frame_rates_keep_the_duration(make, rate):
    clip = open_clip(make("--result", "rate.mp4", "--no-paste", "--fps", str(rate)))
    assert clip.fps == pytest.approx(rate) and len(clip) == max(1, round(FRAMES * rate / 200))


def test_the_driving_rate_can_be_given(make):
    clip = open_clip(make("--result", "rate.mp4", "--no-paste", "--fps", "50", "--driving-fps", "100"))
    assert clip.fps == pytest.approx(50) and len(clip) == 4


def test_retiming(make):
    own, later = crops(make), crops(make, "--retime", "3:11:15")
    assert len(later) == 17
    assert difference(later[:4], own[[1, 1, 1, 1]]) <= 1 and difference(later[[11, 15, 16]], own[[4, 6, 7]]) <= 1


def test_curve_file(make, tmp_path):
    (tmp_path / "curve.csv").write_text("time,position\n0,0\n0.02,4\n0.04,0\n")
    own, there_and_back = crops(make), crops(make, "--retime", "curve.csv")
    assert difference(there_and_back, own[[0, 1, 2, 3, 4, 3, 2, 1, 0]]) <= 1


# ------------------------------------------------------------------------------------------ what is said
def test_figures_are_of_plain_results_alone(make, capsys):
    make("--no-paste")
    assert "the motion could not be measured: nobody looked" in capsys.readouterr().out
    for controls in (["--regions", "mouth"], ["--amplify", "2"], ["--fps", "50"], ["--retime", "1:3:7"]):
        make("--no-paste", *controls)
        assert "no figures of the motion: --amplify, --regions, --retime and --fps" in capsys.readouterr().out


def test_a_clip_without_movement_is_said(make, tmp_path, capsys, inputs):
    frame = open_clip(inputs / "set" / "test" / "smile").first()
    write_clip(tmp_path / "still.mp4", [frame] * 4, 100)
    make("--driving", "still.mp4", "--no-paste", "--regions", "mouth")
    said = capsys.readouterr().out
    assert "still.mp4 hardly moves: its key points by at most 0.0" in said


def test_an_unknown_rate_is_said(make, tmp_path, capsys, inputs):
    write_frame_folder(tmp_path / "loose" / "clip", open_clip(inputs / "set" / "test" / "smile").read_all()[:3])
    make("--driving", "loose/clip", "--no-paste", "--fps", "50")
    assert "taking 100. Give --driving-fps if that is wrong" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ scores
@pytest.fixture
def play(make):
    """``play(score, ...)`` runs the demo with a score in place of the driving clip."""

    def played(score: str, *options: str) -> Path:
        return make("--score", score, *options)

    return played


def test_a_score_moves_the_face_and_leaves_its_truth(make, play, tmp_path, capsys):
    video = play("6+L12E @ 0.02:0.06:0.12", "--fps", "50", "--variety", "0")
    assert video == Path("demo/6+L12E@0.02-0.06-0.12-face.mp4")
    frames, truth = lossless(video).astype(int), np.load(video.with_name(f"{video.stem}-truth.npz"))
    assert len(frames) == len(truth["intensity"]) == 12 and truth["intensity"][:, 1, 0].argmax() == 3
    assert "truth of the face's crop: demo/6+L12E@0.02-0.06-0.12-face-truth.npz" in capsys.readouterr().out
    change = np.abs(frames - frames[0]).sum(axis=(1, 2, 3))
    assert change.argmax() == 3 and change[:2].max() < 0.02 * change.max()
    x, y = truth["photo_to_frame"] @ [0, 0, 1], truth["landmarks"][0, 54]
    corner = np.linalg.solve(truth["photo_to_frame"][:, :2], y - x)  # of the mouth, in the photo: the person's left
    near = np.indices(frames.shape[1:3])[::-1].transpose(1, 2, 0) - corner
    assert np.abs(frames[3] - frames[0])[np.abs(near).max(-1) < 15].max() > 10
    crop = open_clip(play("6+L12E @ 0.02:0.06:0.12", "--fps", "50", "--variety", "0", "--no-paste", "--result", "crop"))
    moved = np.tensordot(truth["weights"][3], truth["fields"].astype(float), 1)
    still = np.linalg.norm(moved, axis=-1) == 0
    assert difference(crop.read([3])[0][still], crop.read([0])[0][still]) < 8 < difference(*crop.read([0, 3]))


def test_controls_act_on_a_score_as_on_a_clip(play):
    plain, half = (play("12E @ 0.1:0.2:0.3", "--fps", "20", "--variety", "0", "--no-paste", "--result", name, *options)
                   for name, options in (("whole", ()), ("half", ("--regions", "brows"))))  # fmt: skip
    frames = open_clip(half).read_all()
    assert difference(frames[0], frames[4]) < 8 < difference(*open_clip(plain).read([0, 4]))
    assert plain.with_name("whole-truth.npz").exists() and not half.with_name("half-truth.npz").exists()


@pytest.mark.parametrize(
    ("score", "options", "message"),
    [
        ("6+13", [], "column 3: '13' is no action unit that has a shape; legal: 1, 2"),
        ("12 @ 0.3:0.2:0.6", [], "column 6: '0.3:0.2:0.6' is no possible timing"),
        ("12 @ 0.1:0.11:0.6", ["--fps", "50"], "less than a frame of 50 a second"),
        ("none.csv", [], "no such table of a score: none.csv"),
        ("two.csv", [], "which holds 2; legal: two.csv:a, two.csv:b"),
        ("12", ["--driving", "clip"], "--score stands in place of --driving"),
        ("12", ["--variety", "-1"], "--variety -1"),
    ],
)
def test_bad_scores(make, tmp_path, score, options, message):
    (tmp_path / "two.csv").write_text("clip,unit,onset,apex,offset\na,12,0,1,2\nb,6,0,1,2\n")
    with pytest.raises(ValueError, match=message):
        make("--score", score, *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two.csv"], "nothing is left behind"


def test_a_family_without_tracks_says_what_a_score_needs(play, inputs, tmp_path):
    config = training_config("fomm", inputs)
    states = {name: network.state_dict() for name, network in build_networks(config).items()}
    write_checkpoint(tmp_path / "fomm.pth", {**states, "config": config})
    with pytest.raises(ValueError, match="a score moves faces through a track, which model: fpb_tracked follows"):
        play("12", "--checkpoint", str(tmp_path / "fomm.pth"))


# ------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--regions", "chin"], r"unknown region 'chin'; legal: brows, eyes, nose, cheeks, mouth"),
        (["--amplify", "-1"], "amplify is -1; legal"),
        (["--retime", "fast"], "retime is 'fast'; legal: onset:apex:offset"),
        (["--retime", "0:9:5"], "should follow one another"),
        (["--retime", "none.csv"], "no such curve file"),
        (["--reference", "20"], r"frame 20 is outside smile \(8 frames\)"),
        (["--fps", "0"], "--fps 0: expected a number above 0"),
        (["--slow", "-2"], "--slow -2"),
        (["--device", "mps"], "--cpu and --device mps"),
        (["--result", "out.avi"], r"--result out.avi: legal are .mp4, .gif and a folder"),
        (["--compare", "side.png"], r"--compare side.png: legal are .mp4 and .gif"),
        (["--crop", "paper", "--margin", "0.5"], "paper's recipe has none"),
        (["--source", "nowhere.png"], "nowhere.png"),
        (["--source", "noise.png"], "no face found in the first frame of noise.png"),
        (["--driving", "noise.png"], "no face found in the first frame of noise.png"),
        (["--driving", "one.png"], "one.png has one frame: nothing moves in it"),
    ],
)
def test_bad_input(make, tmp_path, options, message):
    write_image(tmp_path / "noise.png", noise(120, 120))
    write_image(tmp_path / "one.png", portrait("astronaut"))
    with pytest.raises(ValueError, match=message):
        make(*options)
    assert not list(tmp_path.glob("demo*")) + list(tmp_path.glob("out*")), "nothing is left behind"


def test_a_detector_that_cannot_be_had(inputs, monkeypatch, capsys):
    def absent(name: str) -> None:
        raise demo.DetectorUnavailable("its weights are not here; use --detector dlib")

    monkeypatch.setattr(demo, "make_detector", absent)
    given = ["--source", str(inputs / "face.png"), "--driving", str(inputs / "set" / "test" / "smile")]
    assert demo.main([*given, "--checkpoint", str(inputs / "model.pth"), "--cpu"]) == 2
    assert capsys.readouterr().err == "error: its weights are not here; use --detector dlib\n"


def test_out_of_memory_is_one_line(monkeypatch, capsys):
    def full(options) -> None:
        raise MemoryError("Unable to allocate 2.00 GiB")

    monkeypatch.setattr(demo, "run", full)
    assert demo.main([]) == 2
    reason = "error: out of memory (Unable to allocate 2.00 GiB)"
    assert capsys.readouterr().err == f"{reason}: give a shorter or smaller clip, or free memory\n"


def test_half_of_the_inputs_is_an_error(capsys):
    assert demo.main(["--source", "face.png"]) == 2
    assert "give both --source and --driving" in capsys.readouterr().err


def test_help_names_all_regions(capsys):
    with pytest.raises(SystemExit):
        demo.build_parser().parse_args(["--help"])
    assert ",".join(REGIONS) in capsys.readouterr().out


def test_unknown_references_are_refused(capsys):
    with pytest.raises(SystemExit):
        demo.build_parser().parse_args(["--reference", "apex"])
    assert "legal: onset, auto and frame numbers" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ made visible
def test_show_makes_the_movement_visible(make, capsys):
    """The same movement, four times as strong and eight times slower, and its apex beside the photo."""
    video = make("--result", "out.mp4", "--show")
    frames, magnified = lossless(video).astype(int), open_clip("out-magnified.mp4")
    assert magnified.fps == pytest.approx(25) and len(magnified) == FRAMES
    moved = [np.abs(clip - clip[0]).mean() for clip in (frames, magnified.read_all().astype(int))]
    assert moved[1] > 1.5 * moved[0] > 0
    still = read_image("out-apex.png")
    assert still.shape[0] > 256 and still.shape[1] > 5 * 256
    assert "movement 4 times as strong, 8 times slower" in capsys.readouterr().out


def test_the_magnified_movement_is_that_of_a_stronger_one(make, inputs):
    from animate import animate_face

    options = {"model": inputs / "model.pth", "detector": dlib_detector(), "device": "cpu", "paste": False}
    files = inputs / "face.png", inputs / "set" / "test" / "smile"
    face = animate_face(*files, **options)
    assert face.frames.shape == (FRAMES, SIZE, SIZE, 3)
    stronger = animate_face(*files, **options, amplify=3).frames
    assert difference(np.stack(list(face.magnified(3))), stronger) <= 1


def test_frames_in_memory_are_animated_as_files(inputs):
    from animate import animate_face

    options = {"detector": dlib_detector(), "device": "cpu"}
    photo, clip = read_image(inputs / "face.png"), open_clip(inputs / "set" / "test" / "smile").read_all()
    face = animate_face(photo, clip, inputs / "model.pth", **options, reference=1)
    from_files = animate_face(inputs / "face.png", inputs / "set" / "test" / "smile", inputs / "model.pth", **options)
    assert np.array_equal(face.frames, from_files.frames)
    figures = face.figures
    assert figures["still"]["skill"] == 0 and figures["result"]["rho"] > 0.8 and figures["warp"]["rho"] > 0.8
    with pytest.raises(ValueError, match="'amplifi' is no control of the movement; legal: amplify, regions"):
        animate_face(photo, clip, inputs / "model.pth", **options, amplifi=2)


# ------------------------------------------------------------------------------------------ folders
@pytest.fixture
def folders(inputs, tmp_path) -> list[str]:
    """Options: two photos, one picture without a face, and a file that is no picture; two labelled clips."""
    (tmp_path / "photos").mkdir()
    for name, picture in (("ada", portrait("hopper")), ("bea", portrait("astronaut")), ("wall", noise(120, 120))):
        write_image(tmp_path / "photos" / f"{name}.png", picture)
    (tmp_path / "photos" / "notes.txt").write_text("x")
    frames = open_clip(inputs / "set" / "test" / "smile").read_all()
    for name in ("smile", "grin"):
        write_frame_folder(tmp_path / "clips" / name, frames[:4])
    write_clips(tmp_path / "clips.csv", [
        ClipRecord("smile", "test", "sample", "s3", "", 200.0, 4, apex_index=2, emotion="happiness", action_units="12")
    ])  # fmt: skip
    return ["--source", "photos", "--driving", "clips", "--out", "out"]


def test_folders_are_animated_each_with_each(make, folders, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"1 of 5 photos and clips were left out: no face found .*wall\.png"):
        make(*folders)
    out = tmp_path / "out"
    names = [f"{clip}-{photo}" for clip in ("grin", "smile") for photo in ("ada", "bea")]
    for name in names:
        assert open_clip(out / "png" / name).first().shape == read_image(f"photos/{name[-3:]}.png").shape
        assert (out / f"{name}.mp4").is_file() and (out / "apex" / f"{name}.png").is_file()
    page = (out / "contact_sheet.html").read_text(encoding="utf-8")
    assert page.count("<img") == 4 and "wall.png" in page and "4 of 4 results" in page
    rows = {record.clip: record for record in read_clips(out / "clips.csv")}
    assert set(rows) == {"smile-ada", "smile-bea"}, "of clips that have labels"
    smile = rows["smile-ada"]
    assert (smile.subject, smile.emotion, smile.apex_index) == ("ada", "happiness", 2)
    assert capsys.readouterr().out.count("2 photos, 2 clips, 4 results: out/contact_sheet.html") == 1

    # Again: nothing is made but what was lost, and what was made from another photo.
    (out / "apex" / "grin-ada.png").unlink()
    write_image(tmp_path / "photos" / "bea.png", portrait("astronaut")[:, ::-1])
    with pytest.raises(ValueError, match="left out"):
        make(*folders)
    assert "3 made, 1 were there already, 0 failed" in capsys.readouterr().out


def test_a_list_says_who_drives_whom(make, folders, tmp_path):
    (tmp_path / "pairs.csv").write_text("source,driving\nada.png,smile\n")
    with pytest.raises(ValueError, match="1 of 5 photos and clips were left out"):
        make(*folders, "--pairs", "pairs.csv", "--slow", "2")
    assert [path.name for path in (tmp_path / "out").glob("*.mp4")] == ["smile-ada.mp4"]
    assert open_clip(tmp_path / "out" / "smile-ada.mp4").fps == pytest.approx(100)
    (tmp_path / "pairs.csv").write_text("source,driving\neve,smile\n")
    with pytest.raises(ValueError, match="names clips that are not in the data: eve"):
        make(*folders, "--pairs", "pairs.csv")


def test_an_interruption_says_how_to_go_on(make, folders, tmp_path, monkeypatch):
    from animation.contact_sheet import ContactSheet

    shown = ContactSheet.write

    def stop(sheet) -> None:
        shown(sheet)
        monkeypatch.setattr(ContactSheet, "write", shown)
        raise KeyboardInterrupt

    monkeypatch.setattr(ContactSheet, "write", stop)
    with pytest.raises(KeyboardInterrupt, match="interrupted: 1 of 4 results are there; the same command goes on"):
        make(*folders)
    with pytest.raises(ValueError, match="left out"):
        make(*folders)
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 4


@pytest.mark.parametrize("option", ["--show", "--compare"])
def test_what_is_for_one_result(make, folders, option):
    with pytest.raises(ValueError, match=f"{option} is for one photo and one clip; of many, contact_sheet.html"):
        make(*folders, option)


def test_folders_without_anybody(make, folders, tmp_path):
    for name in ("ada", "bea"):
        (tmp_path / "photos" / f"{name}.png").unlink()
    with pytest.raises(ValueError, match=r"none of the sources can be used: no face found .*wall\.png"):
        make(*folders)
    assert not (tmp_path / "out").exists()


def test_photos_that_do_not_fit_the_disk_are_refused_before_the_first(make, folders, tmp_path, monkeypatch):
    monkeypatch.setattr("animation.cast.BYTES_A_PIXEL", 1e12)
    with pytest.raises(ValueError, match=r"4 results in their photos take about .* GB, and .* are free .*--no-paste"):
        make(*folders)
    assert not (tmp_path / "out").exists()
