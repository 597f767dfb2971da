"""The frame of a clip that shows an expression: shape alone counts."""

from __future__ import annotations

import numpy as np

from faces.expression import nearest_expression, shape_distance


def faces(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Key points of a face, and a movement of them."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 256, (18, 2)), rng.normal(0, 3, (18, 2))


def moved(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + shift


def test_position_size_and_turn_do_not_count():
    face, change = faces()
    copies = np.stack([moved(face, *how) for how in ((0.3, 1, (0, 0)), (0, 2, (5, 9)), (-0.2, 0.5, (-50, 3)))])
    assert np.allclose(shape_distance(copies, face), 0, atol=1e-6)
    assert shape_distance((face + change)[None], face)[0] > 0.01
    assert shape_distance((face + 2 * change)[None], face)[0] > shape_distance((face + change)[None], face)[0]


def test_a_mirrored_face_is_another_shape():
    face, _ = faces()
    assert shape_distance((face * [-1, 1])[None], face)[0] > 0.1


def test_the_frame_of_the_expression_is_found():
    """A clip that goes from an expression to rest and back, of a face elsewhere in the picture and turned."""
    face, change = faces()
    strengths = np.abs(np.linspace(-1, 1, 21))  # rest at frame 10
    clip = np.stack([moved(face + s * change, 0.1, 1.3, (20, -7)) for s in strengths])
    assert nearest_expression(clip, face) == 10
    assert nearest_expression(clip, face + change) in (0, 20)
    assert nearest_expression(clip, face + 0.5 * change) in (5, 15)
