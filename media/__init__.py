"""Clips and pictures: what they are called, reading, writing, and several side by side.

Frames are always uint8 RGB arrays (H, W, 3).  A clip is a folder of frames, a video (``.mp4 .mov .avi .mkv .webm
.gif``) or an image: one picture, or a strip of frames side by side.
"""

from media.atomic import atomic_path, clear_leftovers, explain_write_error, remove_own
from media.names import CLIP_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaError, clip_name, frame_files, list_clips
from media.names import natural_key, natural_sorted, nested
from media.ownership import MARKER, OutputError, check_outputs, open_output_folder
from media.reading import ArrayClip, Clip, FolderClip, VideoClip, decode_image, open_clip, read_image, resize_frame
from media.reading import split_strip, to_rgb8
from media.writing import clip_writer, fast_png, folder_writer, gif_rate, gif_slowdown, gif_writer, mp4_writer
from media.writing import png_bytes, strip_writer, write_clip, write_frame_folder, write_image
