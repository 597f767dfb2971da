"""Videos, decoded by ffmpeg: every recorded frame once, at the time that the file gives it, as it is meant to be seen.

ffmpeg turns frames upright, converts them by the colour matrix and range that the file names (BT.601 where it names
none), and widens pixels that are not square.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import imageio_ffmpeg
import numpy as np

from media.clips import Clip
from media.names import DamageWarning, MediaError, MediaWarning
from media.timing import describe_variation, rate_of_times

# ffmpeg's quickest conversion to RGB is a grey level too dark.
_EXACTLY = "flags=bilinear+full_chroma_int+accurate_rnd"
_SQUARE = f"scale=w='round(iw*sar)':h=ih:{_EXACTLY},setsar=1"
# Frames as they come (no constant rate is made of theirs), each with a line in ffmpeg's log.
_PASS = ["-fps_mode", "passthrough", "-vf", f"showinfo=checksum=0,{_SQUARE}"]
_TO_PIPE = ["-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "-"]
_NOWHERE = ["-f", "null", "-"]

_CLOCK = re.compile(r"config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)")
_FRAME = re.compile(r"Parsed_showinfo.*\] n: *\d+ pts: *(-?\w+) .*? duration: *(-?\w+)")
_ERROR = re.compile(r"\[(?:error|fatal)\] (.*)")


@dataclass(frozen=True)
class _Record:
    """What ffmpeg's log says of the frames that it has decoded."""

    frames: int
    fps: float | None
    damage: str = ""  # what is wrong with the file
    remarks: tuple[str, ...] = ()  # what else a person should know


class VideoClip(Clip):
    """A video, streamed frame by frame; what a damaged file still holds is kept, with a warning.

    ``len`` and ``fps`` come from the frames themselves: before all have been read once, they cost decoding them.

    Raises:
        MediaError: no frame of it can be decoded.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self._record: _Record | None = None
        self._first = next(iter(self))

    def __iter__(self) -> Iterator[np.ndarray]:
        with tempfile.TemporaryFile() as log:
            command = _command(self.path, _TO_PIPE)
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as process:
                try:
                    while (frame := _read_ppm(process.stdout)) is not None:
                        yield frame
                    process.wait()
                finally:
                    process.kill()  # where the rest is not wanted; of no effect on one that has ended
            self._note(log)

    def __len__(self) -> int:
        return self._known().frames

    @property
    def fps(self) -> float | None:
        return self._known().fps

    def read(self, indices: Sequence[int]) -> np.ndarray:
        return np.stack([self._first for _ in indices]) if not any(indices) else super().read(indices)

    def _known(self) -> _Record:
        if self._record is None:
            with tempfile.TemporaryFile() as log:
                subprocess.run(_command(self.path, _NOWHERE), stdin=subprocess.DEVNULL, stderr=log)
                self._note(log)
        return self._record

    def _note(self, log: BinaryIO) -> None:
        """Keep what the log of a whole pass says, and say it once."""
        if self._record is not None:
            return
        log.seek(0)
        text = log.read().decode(errors="replace")
        record = _read_log(text)
        if record.frames == 0:
            raise MediaError(f"cannot read the video {self.path}: {_why_nothing(text)}")
        self._record = record
        if record.damage:
            warnings.warn(f"{self.path}: {record.damage}", DamageWarning, stacklevel=3)
        for remark in record.remarks:
            warnings.warn(f"{self.path}: {remark}", MediaWarning, stacklevel=3)


def _command(path: Path, output: list[str]) -> list[str]:
    """ffmpeg's, for the first video of a file that is no cover picture of a sound."""
    quiet = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]
    return [imageio_ffmpeg.get_ffmpeg_exe(), *quiet, "-i", f"file:{path}", "-map", "0:V:0", *_PASS, *output]


def _read_ppm(stream: BinaryIO) -> np.ndarray | None:
    """The next picture of a stream of PPM files, uint8 (H, W, 3); None at its end."""
    if stream.readline() != b"P6\n":
        return None
    width, height = map(int, stream.readline().split())
    stream.readline()  # the largest value, 255
    frame = np.empty((height, width, 3), np.uint8)
    return frame if stream.readinto(frame.reshape(-1)) == frame.size else None


def _read_log(text: str) -> _Record:
    """What ffmpeg's log says of a whole pass."""
    found = _FRAME.findall(text)
    clock = _CLOCK.search(text)
    if not found or clock is None:
        return _Record(0, None)
    errors, remarks = _ERROR.findall(text), []
    damage = f"truncated or damaged: {len(found)} frames can be read ({errors[-1].strip()})" if errors else ""
    tick_over, tick_under, rate_over, rate_under = map(int, clock.groups())
    tick = tick_over / max(1, tick_under)
    fps = rate_over / rate_under if rate_over and rate_under else None
    if all(time.lstrip("-").isdecimal() for time, _ in found):  # else they have none, and what is declared holds
        times = np.array([int(time) for time, _ in found]) * tick
        last = int(found[-1][1]) * tick if found[-1][1].isdecimal() else 0.0
        fps = rate_of_times(times, last, tick, fps)
        if variation := describe_variation(np.diff(times), fps, tick):
            remarks.append(variation)
    if "color_trc:smpte2084" in text or "color_trc:arib-std-b67" in text:
        remarks.append("HDR, which is not mapped to ordinary brightness: it looks pale. Record or export it as SDR")
    return _Record(len(found), fps, damage, tuple(remarks))


def _why_nothing(text: str) -> str:
    """The reason of a log without frames."""
    if " Video: " not in text and " Audio: " in text:
        return "it holds no picture, only sound"
    nothing = "it holds no frame that can be decoded" if text.strip() else "ffmpeg has crashed"
    return last_line("\n".join(_ERROR.findall(text))) or nothing


def last_line(text: str) -> str:
    """The last line that is not empty; "" where there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
