"""Draws docs/method.svg from the networks themselves: names, shapes and files are read, not written.

    python -m docs.figure     # the pictures: the built-in sample's surprise at its apex, by the models of sup-mat/
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch
from torch import Tensor

from checkpoint import load_for_inference
from corpora import sample
from faces import largest_face, make_detector
from faces.tracking import track_keypoints
from frames_dataset import to_frames, to_tensor
from media import open_clip, resize_frame
from modules import build_networks, get_family
from modules.coords import make_coordinate_grid
from modules.facial_prior import region_map, select_keypoints
from modules.track import Carrier
from modules.util import inverse_2x2
from settings import load_config

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ("fpb_mix", "fpb_tracked")
CLIPS = {"clip": "collins_surprise_01", "photo": "hopper_sadness_01"}
MAGNIFIED, PIXELS = 8, 128  # movements in the pictures; size of the pictures
ROWS = (  # lower edge, colour, heading, what it says
    (4.2, "#2563a8", "model: fpb_fomm",
     "the paper's method: key points of the onset serve the whole clip, only the Jacobians move"),
    (0.5, "#b4531a", "model: fpb_tracked",
     "adds a prior that moves: each frame is followed, and the photo itself is moved"),
)  # fmt: skip
PANELS = {  # step: row, column, heading
    "clip": (0, 0, "clip"), "points": (0, 1, "18 key points"), "regions": (0, 2, "region map"),
    "jacobians": (0, 3, "Jacobians"), "dense": (0, 4, "dense motion"), "result": (0, 5, "result"),
    "photo": (1, 0, "photo"), "track": (1, 1, "track, by optical flow"), "carried": (1, 2, "carried to the photo"),
    "mixed": (1, 3, "the field: one motion more"), "visible": (1, 4, "what is visible"), "moved": (1, 5, "result"),
}  # fmt: skip


@torch.inference_mode()
def labels() -> dict[str, tuple[str, str, str]]:
    """Of every step: name in the code, shape of what it gives, file; by one frame's pass at full size."""
    with torch.device("meta"):  # any numbers will do
        paper, tracked = (build_networks(load_config(ROOT / f"config/{name}.yaml")) for name in CONFIGS)
    networks = paper["kp_detector"], paper["generator"], tracked["generator"]
    detector, generator, follower = (network.to_empty(device="cpu").eval() for network in networks)
    image, points = torch.rand(1, 3, 256, 256), select_keypoints(torch.rand(1, 68, 2) * 256)
    regions = detector.region_map(points, 256, 256)
    found = detector(image, points, regions)
    out = generator(image, found, found)
    found["field"] = torch.zeros_like(out["deformation"])
    mixed = follower(image, found, found)
    steps: dict[str, tuple[object, Tensor]] = {
        "clip": (open_clip, image), "points": (select_keypoints, points),
        "regions": (region_map, regions), "jacobians": (detector, found["jacobian"]),
        "dense": (generator.dense_motion_network, out["deformation"]), "result": (generator, out["prediction"]),
        "photo": (open_clip, image), "track": (track_keypoints, found["field"]),
        "carried": (Carrier.field, found["field"]), "mixed": (follower.dense_motion_network, mixed["mask"]),
        "visible": (follower.dense_motion_network, mixed["occlusion_map"]), "moved": (follower, mixed["prediction"]),
    }  # fmt: skip
    found = {}
    for step, (thing, given) in steps.items():
        thing = inspect.unwrap(thing) if inspect.isfunction(thing) else type(thing)
        shape = ", ".join(map(str, given.shape[1:]))
        found[step] = thing.__qualname__, f"(B, {shape})", Path(inspect.getfile(thing)).relative_to(ROOT).as_posix()
    return found


def animate(checkpoint: str, size: int) -> dict[str, np.ndarray]:
    """What a model makes of the surprise's apex, and of what it is made: pictures, points and movements in 0 … 1."""
    clips = [open_clip(ROOT / "data/sample/test" / name).read_all() for name in CLIPS.values()]
    driving, source = (np.stack([resize_frame(frame, size, size) for frame in clip]) for clip in clips)
    faces = [largest_face(make_detector("dlib"), frames[0]) for frames in (driving, source)]
    points = [select_keypoints(torch.from_numpy(face.landmarks))[None] for face in faces]
    track = track_keypoints(driving, points[0][0])
    apex = [int(track.field.norm(dim=-1).mean((1, 2)).argmax())]
    model = load_for_inference(ROOT / checkpoint, None, torch.device("cpu"))
    animator, follows = model.animator(), get_family(model.config).uses_tracks
    animator.start(to_tensor(source[:1]), to_tensor(driving[:1]), points[1], track[[0]] if follows else points[0])
    out = animator.render(animator.motion(to_tensor(driving[apex]), *([track[apex]] if follows else [])))
    still, result = make_coordinate_grid(*out["deformation"].shape[1:3], like=points[0]), to_frames(out["prediction"])
    relative = out["kp_driving"]["jacobian"] @ inverse_2x2(out["kp_source"]["jacobian"])
    moved = (still - out["deformation"][0]) / 2
    carried = out["kp_driving"].get("field", moved[None])[0] / 2
    return {
        "clip": driving[apex[0]], "onset": driving[0], "photo": source[0], "result": result[0], "moved": result[0],
        "points": points[0][0].numpy() / size, "regions": animator.detector.region_map(points[0], size, size)[0, 0],
        "jacobians": (relative[0] - torch.eye(2)).numpy(), "dense": moved.numpy(), "mixed": moved.numpy(),
        "track": track.field[apex[0]].numpy() / size, "carried": carried.numpy(), "visible": out["occlusion_map"][0, 0],
    }  # fmt: skip


def show(axes: Axes, step: str, seen: dict[str, np.ndarray], colour: str) -> None:
    """One step's picture: what it makes, on the face that it belongs to."""
    whole = step in ("clip", "photo", "result", "moved")
    under = "onset" if step in ("points", "regions", "jacobians", "track") else "photo"
    face = resize_frame(seen[step if whole else under], PIXELS, PIXELS)
    axes.imshow(face if whole else 128 + face // 2, interpolation="none")
    x, y = seen["points"].T * PIXELS
    if step in ("regions", "visible"):
        axes.imshow(seen[step], extent=(-0.5, PIXELS - 0.5, PIXELS - 0.5, -0.5), alpha=0.7, cmap="viridis")
    elif step in ("points", "jacobians"):
        axes.scatter(x, y, s=9, color=colour)
    if step == "jacobians":
        axes_of, sizes, _ = np.linalg.svd(np.eye(2) + 2 * MAGNIFIED * seen[step])
        for place, turn, size in zip(zip(x, y, strict=True), axes_of, sizes, strict=True):
            angle = np.degrees(np.arctan2(turn[1, 0], turn[0, 0]))
            axes.add_patch(Ellipse(place, *(PIXELS / 12 * size), angle=angle, fill=False, color=colour))
    elif step in ("dense", "track", "carried", "mixed"):
        step_size = len(seen[step]) // 16
        moved = seen[step][step_size // 2 :: step_size, step_size // 2 :: step_size] * PIXELS
        rows, columns = np.nonzero(np.hypot(*moved.transpose(2, 0, 1)) > 0.1)
        places, (u, v) = (np.stack([columns, rows]) + 0.5) * PIXELS / 16, moved[rows, columns].T * MAGNIFIED
        axes.quiver(*places, u, v, angles="xy", scale_units="xy", scale=1, width=0.008, color=colour)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, PIXELS - 0.5), ylim=(PIXELS - 0.5, -0.5))
    axes.spines[:].set(color=colour, lw=1.2)


def draw(path: Path) -> None:
    """Write the figure; lengths are inches."""
    width, height = 14.4, 7.8
    figure = pyplot.figure(figsize=(width, height))
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    page.axis("off")
    for low, colour, heading, meaning in ROWS:
        corners = "round,pad=0,rounding_size=0.12"
        page.add_patch(FancyBboxPatch((0.2, low), width - 0.4, 3.4, corners, fc=colour, ec="none", alpha=0.08))
        page.text(0.45, low + 3.05, heading, color=colour, weight="bold", size=12)
        page.text(2.77, low + 3.05, meaning, color=colour, size=10.5)
    known = labels()
    seen = animate("sup-mat/fpb_sample.pth.tar", 128), animate("sup-mat/sample_model.pth.tar", 256)
    for step, texts in known.items():
        row, column, heading = PANELS[step]
        low, colour, left = *ROWS[row][:2], 0.45 + 2.32 * column
        picture = figure.add_axes((left / width, (low + 1.1) / height, 1.75 / width, 1.75 / height))
        show(picture, step, seen[row], colour)
        styles = {"weight": "bold"}, {"family": "monospace"}, {}, {"color": "#6b7785"}
        for line, (text, style) in enumerate(zip((heading, *texts), styles, strict=True)):
            page.text(left, low + 0.88 - 0.22 * line, text, size=8.5, **style)
        ends = [((left + 1.8, low + 1.95), (left + 2.27, low + 1.95))] if column < 5 and step != "photo" else []
        if step in ("clip", "jacobians"):  # what the second row takes from the first
            ends.append(((left + 2.03, low + 1.95), (left + (2.27 if step == "clip" else 1.78), ROWS[1][0] + 2.4)))
        for start, end in ends:
            bend = "arc3" if start[1] == end[1] else "angle,angleA=90,angleB=0,rad=6"
            style = {"arrowstyle": "-|>", "mutation_scale": 12, "lw": 1.6, "color": colour}
            page.add_patch(FancyArrowPatch(start, end, connectionstyle=bend, shrinkA=0, shrinkB=0, **style))
    shapes = " and ".join(f"config/{name}.yaml" for name in CONFIGS)
    notes = f"Shapes: {shapes}.  Pictures: the models of sup-mat/, movements magnified {MAGNIFIED} times."
    page.text(0.45, 0.2, notes, size=8.5, color="#6b7785")
    figure.savefig(path, metadata={"Date": None, "Description": json.dumps(known)})
    pyplot.close(figure)


if __name__ == "__main__":
    pyplot.rcParams.update({"svg.hashsalt": "method", "text.color": "#1f2933"})
    sample.build(ROOT / "data/sample", only="test")
    draw(ROOT / "docs" / "method.svg")
