"""The sample faces: the ground truth is true, movements go where action units go, the data set is as documented."""

import csv
import hashlib
import json
from itertools import combinations

import cv2
import numpy as np
import pytest

import media
from benchmarks.sample_clips import face_model, sample_clip, still_face
from corpora import read_clips
from corpora.sample import build, dataset
from corpora.sample.action_units import ACTION_UNITS, EMOTIONS, SIDES, FaceAxes, parse_units, unit_field
from corpora.sample.identities import describe
from corpora.sample.motion import Motion, draw_timeline, largest, smooth_step
from corpora.sample.portraits import MIRROR, MouthCloser, canonical_shape, load_portrait, portrait_file, upright
from corpora.sample.warps import (
    dense_grid,
    inverse_displacement,
    on_grid,
    sample_image,
    similarity_between,
    thin_plate_spline,
)
from faces.crop import invert_matrix, transform_points

SIZE = 128


@pytest.fixture(scope="module")
def face():
    return face_model("collins", SIZE)


@pytest.fixture(scope="module")
def clip():
    return sample_clip(seed=3, movement="happiness", amplitude_px=4.0, size=256, frames=14, noise=0.0)


def _displacement_at(face, unit, side, landmark):
    """(outward from the nose, down) in amplitudes, at a landmark."""
    field = unit_field(unit, SIDES[side], face.landmarks, dense_grid((SIZE, SIZE)))
    x, y = np.rint(face.landmarks[landmark]).astype(int)
    axes = FaceAxes.of(face.landmarks)
    outward = np.sign((face.landmarks[landmark] - face.landmarks[27]) @ axes.right)
    return field[y, x] @ axes.right * outward, field[y, x] @ axes.down


# ------------------------------------------------------------------------------------------------------- geometry
def test_similarity_takes_its_points_and_keeps_shape():
    source, target = np.array([[0.0, 0], [1, 0]]), np.array([[5.0, 5], [5, 7]])
    similarity = similarity_between(source, target)
    np.testing.assert_allclose(transform_points(similarity, source), target, atol=1e-12)
    np.testing.assert_allclose(transform_points(similarity, np.array([[0.0, 1]])), [[3, 5]], atol=1e-12)
    np.testing.assert_allclose(transform_points(invert_matrix(similarity), target), source, atol=1e-12)
    assert np.sqrt(np.linalg.det(similarity[:, :2])) == pytest.approx(2)


def test_spline_interpolates_and_reproduces_affine_maps():
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 300, (20, 2))
    target = source + rng.normal(0, 3, (20, 2))
    spline = thin_plate_spline(source, target)
    np.testing.assert_allclose(spline(source), target, atol=1e-6)
    grid = dense_grid((40, 60))
    np.testing.assert_allclose(on_grid(spline, grid), spline(grid.reshape(-1, 2)).reshape(grid.shape), atol=0.05)
    affine = source @ np.array([[1.1, 0.2], [-0.1, 0.9]]) + (3, 4)
    moved = thin_plate_spline(source, affine)(grid.reshape(-1, 2)).reshape(grid.shape)
    np.testing.assert_allclose(moved, grid @ np.array([[1.1, 0.2], [-0.1, 0.9]]) + (3, 4), atol=1e-6)


def test_inverse_displacement_of_a_known_shear():
    grid = dense_grid((64, 64)).astype(np.float32)
    forward = np.stack([0.3 * (grid[..., 0] - 32), -0.2 * (grid[..., 1] - 32)], axis=-1)  # x → 32 + 1.3 (x − 32)
    backward = inverse_displacement(forward, iterations=20)
    exact = np.stack([(grid[..., 0] - 32) / 1.3, (grid[..., 1] - 32) / 0.8], axis=-1) + 32 - grid
    np.testing.assert_allclose(backward[12:52, 12:52], exact[12:52, 12:52], atol=0.02)


def test_mirror_is_its_own_inverse_and_the_canonical_face_is_symmetric():
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))
    shape = canonical_shape()
    np.testing.assert_allclose(shape[MIRROR] * (-1, 1) + (2 * shape[27, 0], 0), shape, atol=1e-9)


def test_closed_lips_meet():
    parted = upright(face_model("collins").landmarks)
    assert parted[66, 1] - parted[62, 1] > 8  # she smiles
    closed = MouthCloser(parted).close(parted)
    np.testing.assert_allclose(closed[[61, 62, 63]], closed[[67, 66, 65]], atol=1e-9)
    np.testing.assert_array_equal(closed[:48], parted[:48])
    assert closed[51, 1] > parted[51, 1]
    assert closed[57, 1] < parted[57, 1]


# ---------------------------------------------------------------------------------------------------- ground truth
def test_flow_is_where_the_picture_went(clip):
    """Frame t looked up at x + flow(x) is frame 0: the rendered motion is the stated one, everywhere."""
    edge = 16
    grid = dense_grid((256, 256)).astype(np.float32)
    first, apex = clip.frames[0].astype(np.float32), clip.frames[clip.apex].astype(np.float32)
    unmoved = np.abs(apex - first)[edge:-edge, edge:-edge].mean()
    aligned = np.abs(sample_image(apex, grid + clip.flow[clip.apex]) - first)[edge:-edge, edge:-edge].mean()
    assert aligned < 0.25 * unmoved


@pytest.mark.parametrize("movement", ["6+12", "1+2+5", "15+17"])
def test_optical_flow_sees_the_stated_motion(movement):
    clip = sample_clip(seed=5, movement=movement, amplitude_px=3.0, size=256, frames=8, identity="collins")
    grey = [cv2.cvtColor(clip.frames[t], cv2.COLOR_RGB2GRAY) for t in (0, clip.apex)]
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    estimator.setFinestScale(0)
    seen, truth = estimator.calc(*grey, None), clip.flow[clip.apex]
    length = np.linalg.norm(clip.local_flow[clip.apex], axis=-1)
    moving = length > 0.5 * length.max()
    error = np.linalg.norm(seen - truth, axis=-1)[moving].mean()
    assert error < 0.25 * length[moving].mean()


@pytest.mark.parametrize(("amplitude", "size"), [(1.0, 128), (4.0, 128), (4.0, 256), (12.0, 128)])
def test_peak_displacement_is_the_amplitude_at_256_pixels(amplitude, size):
    clip = sample_clip(seed=1, movement="12", amplitude_px=amplitude, size=size, frames=8)
    lengths = np.linalg.norm(clip.local_flow, axis=-1)
    assert lengths.max() * 256 / size == pytest.approx(amplitude, rel=1e-4)
    assert lengths[clip.apex].max() == pytest.approx(lengths.max(), rel=0.02)
    assert clip.intensity.max() == 1


def test_too_strong_movements_stay_free_of_folds():
    clip = sample_clip(seed=1, movement="45", amplitude_px=40.0, size=SIZE, frames=8)
    slopes = [np.gradient(clip.local_flow[clip.apex][..., i], axis=axis) for i in (0, 1) for axis in (0, 1)]
    assert np.abs(slopes).max() < 0.65


def test_clip_starts_and_nearly_ends_neutral(clip):
    assert not clip.flow[0].any()
    assert not clip.local_flow[: clip.onset + 1].any()
    assert 0 <= clip.onset < clip.apex < clip.offset < len(clip.frames)
    assert clip.intensity[clip.offset] < 0.2
    assert clip.apex - clip.onset < clip.offset - clip.apex  # rises faster than it falls
    still, landmarks = still_face(3, 256, seed=3)
    np.testing.assert_array_equal(clip.frames[0], still)
    np.testing.assert_array_equal(clip.landmarks, landmarks)


def test_movement_grows_to_the_apex_and_falls_after_it(clip):
    assert (np.diff(clip.intensity[clip.onset : clip.apex]) > 0).all()
    assert (np.diff(clip.intensity[clip.apex + 1 : clip.offset + 1]) <= 0).all()


@pytest.mark.parametrize("movement", sorted({units for group in EMOTIONS.values() for units in group}))
def test_expressions_leave_the_frame_edge_and_the_background_alone(face, movement):
    timeline = draw_timeline(np.random.default_rng(0), movement, 0.1, 100, 0.3, head=0.0)
    motion = Motion(face.landmarks, face.head, timeline)
    field = motion.expression(timeline.apex)
    assert largest(field) > 1
    for edge in (field[0], field[-1], field[:, 0], field[:, -1]):
        assert not edge.any()
    assert not field[face.head < 0.01].any()
    for x, y in np.rint(face.landmarks[[0, 1, 2, 3, 13, 14, 15, 16]]).astype(int):  # the outline beside the cheeks
        assert np.linalg.norm(field[y, x]) < 0.05 * largest(field)


def test_head_drift_moves_the_head_not_the_background(face):
    timeline = draw_timeline(np.random.default_rng(4), "12", 0.03, 100, 0.3, head=3.0)
    motion = Motion(face.landmarks, face.head, timeline)
    drift = motion.displacement(len(timeline) - 1) - motion.expression(len(timeline) - 1)
    nose = np.rint(face.landmarks[30]).astype(int)
    assert np.linalg.norm(drift[nose[1], nose[0]]) > 0.05
    far = cv2.distanceTransform((face.head < 0.5).astype(np.uint8), cv2.DIST_L2, 5) > 0.4 * face.iod
    assert far.any()
    assert np.abs(drift[far]).max() < 0.05
    still = draw_timeline(np.random.default_rng(4), "12", 0.03, 100, 0.3, head=0.0)
    assert not still.drift.any()


def test_intensity_curve_has_no_jerk_at_its_ends():
    assert smooth_step(np.array([-1.0, 0, 0.5, 1, 2])).tolist() == [0, 0, 0.5, 1, 1]
    assert smooth_step(np.array([0.001]))[0] < 1e-7


# ---------------------------------------------------------------------------------------------------- action units
@pytest.mark.parametrize(
    ("unit", "landmark", "outward", "down"),
    [
        (1, 21, 0, -1), (2, 18, 0, -1), (4, 21, -1, 1), (5, 37, 0, -1), (6, 41, 0, -1), (7, 41, 0, -1),
        (9, 31, 0, -1), (10, 50, 0, -1), (12, 48, 1, -1), (14, 48, 1, 0), (15, 48, 0, 1), (17, 57, 0, -1),
        (20, 48, 1, 0), (23, 48, -1, 0), (25, 57, 0, 1), (25, 51, 0, -1), (45, 37, 0, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mirrored", [False, True])
def test_direction_of_each_action_unit(face, unit, landmark, outward, down, mirrored):
    landmark = MIRROR[landmark] if mirrored else landmark
    moved_out, moved_down = _displacement_at(face, unit, "B", landmark)
    if outward:
        assert moved_out * outward > 0.25
    if down:
        assert moved_down * down > 0.25
    if not outward:
        assert abs(moved_out) < abs(moved_down)
    if not down:
        assert abs(moved_down) < abs(moved_out)


def test_every_demanded_unit_exists_and_moves_by_about_its_amplitude(face):
    demanded = {1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25}
    assert demanded <= set(ACTION_UNITS)
    for unit in ACTION_UNITS:
        strength = largest(unit_field(unit, SIDES["B"], face.landmarks, dense_grid((SIZE, SIZE))))
        assert 0.75 < strength < 1.35, f"AU{unit} moves by {strength} amplitudes"


@pytest.mark.parametrize("unit", [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 20])
def test_left_is_the_persons_left_and_moves_alone(face, unit):
    grid = dense_grid((SIZE, SIZE))
    left = unit_field(unit, SIDES["L"], face.landmarks, grid)
    right = unit_field(unit, SIDES["R"], face.landmarks, grid)
    np.testing.assert_allclose(left + right, unit_field(unit, SIDES["B"], face.landmarks, grid), atol=1e-12)
    axes = FaceAxes.of(face.landmarks)
    side = (grid - face.landmarks[27]) @ axes.right  # > 0: on the right of the picture
    weight = np.linalg.norm(left, axis=-1)
    assert (side * weight).sum() / weight.sum() > 0.1 * face.iod


def test_sides_of_the_rendered_clip():
    clip = sample_clip(seed=2, movement="L12", amplitude_px=4.0, size=SIZE, frames=8, head=0.0, variety=0.0)
    change = np.abs(clip.frames[clip.apex].astype(int) - sample_clip(
        seed=2, movement="R12", amplitude_px=4.0, size=SIZE, frames=8, head=0.0, variety=0.0
    ).frames[clip.apex])  # fmt: skip
    corners = np.rint(clip.landmarks[[48, 54]]).astype(int)
    length = np.linalg.norm(clip.local_flow[clip.apex], axis=-1)
    assert length[corners[1, 1], corners[1, 0]] > 5 * length[corners[0, 1], corners[0, 0]]
    assert change.max() > 20


def test_units_are_parsed_and_unknown_ones_named():
    assert parse_units("6+L12") == [(6, "B"), (12, "L")]
    for wrong in ("", "99", "6+", "M12", "6 12"):
        with pytest.raises(ValueError, match="no list of action units"):
            parse_units(wrong)
    for combination in (units for group in EMOTIONS.values() for units in group):
        assert parse_units(combination)


# ------------------------------------------------------------------------------------------------------ identities
def test_people_differ_and_repeat_exactly():
    faces = [still_face(number, 64)[0].astype(int) for number in range(4)]
    faces += [still_face(name, 64)[0].astype(int) for name in ("hopper", "collins")]
    for a, b in combinations(faces, 2):
        assert np.abs(a - b).mean() > 8
    np.testing.assert_array_equal(still_face(2, 64)[0], faces[2])


def test_hopper_is_shown_as_photographed():
    """Un-morphed and in natural colour: her picture is a cut of the photograph."""
    image, landmarks = still_face("hopper", 256)
    photo = media.read_image(portrait_file("hopper"))
    to_photo = similarity_between(landmarks[[36, 45]].astype(float), load_portrait("hopper").landmarks[[36, 45]])
    expected = sample_image(photo.astype(np.float32), transform_points(to_photo, dense_grid((256, 256))))
    assert np.abs(cv2.GaussianBlur(expected, (0, 0), 2) - cv2.GaussianBlur(image, (0, 0), 2).astype(float)).mean() < 1.5


def test_no_training_person_is_a_test_person():
    train, test = dataset.train_plans(0, 200), dataset.test_plans(0)
    assert not {plan.subject for plan in train} & {plan.subject for plan in test}
    assert not {plan.name for plan in train} & {plan.name for plan in test}
    assert len({plan.identity for plan in train}) == 200
    assert not {plan.identity for plan in train} & {plan.identity for plan in test}
    assert all(isinstance(plan.identity, tuple) for plan in train)  # the portraits themselves are in test alone
    for plan in train:
        shares = [float(word) for word in describe(plan.identity).split() if word.replace(".", "").isdigit()]
        assert min(shares) <= 0.35
        assert max(shares) >= 0.65


def test_unknown_identity_and_bad_values():
    with pytest.raises(ValueError, match="legal are hopper, collins"):
        still_face("einstein")
    with pytest.raises(ValueError, match="amplitude_px is 0"):
        sample_clip(amplitude_px=0)
    with pytest.raises(ValueError, match="at least 6"):
        sample_clip(frames=3)
    with pytest.raises(ValueError, match="no list of action units"):
        sample_clip(movement="joy")


# -------------------------------------------------------------------------------------------------------- data set
def _fingerprint(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "data"
    assert build(out, size=64, train_clips=3, workers=1) == 3 + 7 + 12
    return out


def test_layout(written):
    records = read_clips(written / "clips.csv")
    assert [record.split for record in records] == ["train"] * 3 + ["test"] * 7
    for record in records:
        frames = media.open_clip(written / record.split / record.clip)
        assert len(frames) == record.frames
        assert frames.first().shape == (64, 64, 3)
        assert frames.files[0].name == "0000000.png"
        assert 0 <= record.onset_index < record.apex_index < record.offset_index < record.frames
        assert 0.2 <= (record.offset_index - record.onset_index) / record.fps <= 0.5
        assert record.emotion in EMOTIONS
        assert record.clip.startswith(f"{record.subject}_{record.emotion}")
    folders = {path.parent.name: path for path in written.glob("*/*")}
    assert set(folders) == {"train", "test", "truth"}
    assert not list(written.rglob("*.part"))


def test_truth_starts_as_the_source_and_lasts_as_long_as_the_driving_clip(written):
    pairs = list(csv.DictReader((written / "pairs.csv").open(encoding="utf-8")))
    assert [len({pair[role] for pair in pairs}) for role in ("source", "driving")] == [3, 4]
    assert pairs[0]["source"].startswith("hopper_")
    assert pairs[0]["driving"].split("_")[1] == "happiness"
    for pair in pairs:
        truth = media.open_clip(written / "truth" / f"{pair['driving']}-{pair['source']}").read_all()
        source = media.open_clip(written / "test" / pair["source"])
        assert pair["source"].split("_")[0] != pair["driving"].split("_")[0]
        assert len(truth) == len(media.open_clip(written / "test" / pair["driving"]))
        np.testing.assert_array_equal(truth[0], source.first())
        assert np.abs(truth[len(truth) // 3].astype(int) - truth[0]).max() > 20


def test_test_clips_are_micro_and_truth_moves_as_far_in_eye_distances():
    plans = {plan.subject: plan for plan in dataset.test_plans(0)}
    for plan in plans.values():
        face = plan.face(SIZE)
        motion = Motion(face.landmarks, face.head, plan.timeline(face))
        assert 1.0 <= motion.peak * face.iod * 256 / SIZE <= 4.0
    driving = plans["s201"].face(SIZE)
    timeline = plans["s201"].timeline(driving)
    source = plans["hopper"].face(SIZE)
    motion = Motion(source.landmarks, source.head, timeline)
    assert motion.peak == pytest.approx(timeline.amplitude, rel=1e-3)


def test_training_holds_micro_and_macro_clips_of_every_movement():
    plans = dataset.train_plans(0)
    micro = [plan for plan in plans if plan.amplitude_px <= 4]
    assert 0.4 < len(micro) / len(plans) < 0.6
    assert max(plan.amplitude_px for plan in plans) > 10
    assert {plan.units for plan in plans} == {units for group in EMOTIONS.values() for units in group}
    assert dataset.train_plans(0, 10) == plans[:10]


def test_same_bytes_with_two_workers(written, tmp_path):
    build(tmp_path, size=64, train_clips=3, workers=2, only="train")
    assert _fingerprint(tmp_path / "train") == _fingerprint(written / "train")


def test_second_run_makes_only_what_is_missing(written):
    before = _fingerprint(written)
    assert build(written, size=64, train_clips=3) == 0
    victim = next((written / "train").iterdir())
    (victim / "0000003.png").unlink()
    assert build(written, size=64, train_clips=3) == 1
    assert _fingerprint(written) == before


def test_parts_come_one_by_one(written, tmp_path):
    build(tmp_path, size=64, train_clips=2, only="train")
    assert {record.split for record in read_clips(tmp_path / "clips.csv")} == {"train"}
    assert not (tmp_path / "test").exists()
    assert build(tmp_path, size=64, train_clips=3, only="train") == 1
    assert build(tmp_path, size=64, only="test") == 7 + 12
    assert _fingerprint(tmp_path) == _fingerprint(written)


def test_other_settings_are_refused_or_replace_everything(tmp_path):
    build(tmp_path, size=32, train_clips=2, only="train")
    for changed in ({"seed": 1}, {"size": 40}, {"train_clips": 1}):
        with pytest.raises(ValueError, match="--out"):
            build(tmp_path, **{"size": 32, "train_clips": 2, "only": "train", **changed})
    with pytest.raises(ValueError, match="without --only"):
        build(tmp_path, size=40, train_clips=1, only="train", overwrite=True)
    assert json.loads((tmp_path / "sample.json").read_text())["size"] == 32
    old = {path.name for path in (tmp_path / "train").iterdir()}
    build(tmp_path, seed=1, size=32, train_clips=1, overwrite=True)
    names = {path.name for path in (tmp_path / "train").iterdir()}
    assert len(names) == 1
    assert names == {record.clip for record in read_clips(tmp_path / "clips.csv") if record.split == "train"}
    assert len(old) == 2


@pytest.mark.parametrize(
    ("value", "complaint"),
    [({"size": 8}, "size is 8"), ({"workers": 0}, "workers is 0"), ({"train_clips": 0}, "train_clips is 0"),
     ({"only": "val"}, "only is 'val'"), ({"seed": -1}, "seed is -1")],
)  # fmt: skip
def test_bad_values_are_named_before_anything_is_written(tmp_path, value, complaint):
    with pytest.raises(ValueError, match=complaint):
        build(tmp_path / "out", **value)
    assert not (tmp_path / "out").exists()


def test_damaged_settings_are_reported(tmp_path):
    (tmp_path / "sample.json").write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        build(tmp_path, size=32)


@pytest.mark.parametrize("content", ["{}", "[1]", '{"name": "a scene of mine"}', "{"])
def test_a_file_of_that_name_does_not_make_a_folder_ours(tmp_path, content):
    for name, text in (("sample.json", content), ("clips.csv", "mine"), ("pairs.csv", "mine")):
        (tmp_path / name).write_text(text)
    with pytest.raises(media.OutputError, match="which this program did not write"):
        build(tmp_path, only="test", overwrite=True)
    assert (tmp_path / "clips.csv").read_text() == (tmp_path / "pairs.csv").read_text() == "mine"
