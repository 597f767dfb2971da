"""Who takes part: what is a folder of photos, of clips, or the frames of one clip."""

from __future__ import annotations

import numpy as np

from animation.cast import driving_files, source_files
from media import write_clip, write_frame_folder, write_image
from tests.pictures import noise, smooth


def test_a_folder_of_photos_is_many_sources(tmp_path):
    """Of equal size and numbered, too, but for frames of one clip, which are all but equal."""
    write_frame_folder(tmp_path / "photos", noise(3))
    write_frame_folder(tmp_path / "clip", smooth(3))
    assert [path.name for path in source_files(tmp_path / "photos")] == [f"000000{i}.png" for i in range(3)]
    assert source_files(tmp_path / "clip") == [tmp_path / "clip"]
    write_image(tmp_path / "clip" / "wide.png", np.zeros((8, 9, 3), np.uint8))
    assert source_files(tmp_path / "clip" / "wide.png") == [tmp_path / "clip" / "wide.png"]


def test_a_folder_of_pictures_alone_drives_as_one_clip(tmp_path):
    write_frame_folder(tmp_path / "clips" / "a", noise(3))
    assert driving_files(tmp_path / "clips" / "a") == [tmp_path / "clips" / "a"]
    write_clip(tmp_path / "clips" / "b.mp4", smooth(3), 25)
    assert [path.name for path in driving_files(tmp_path / "clips")] == ["a", "b.mp4"]
