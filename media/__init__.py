"""Clips and pictures: what they are called, reading, writing, and several side by side.

Frames are always uint8 RGB arrays (H, W, 3).  A clip is a folder of frames, a video of any kind that ffmpeg reads, one
file of several pictures (GIF, APNG, WebP, TIFF) or an image: one picture, or a strip of frames side by side.
"""

from media.atomic import atomic_path, clear_leftovers, explain_write_error, remove_own
from media.names import CLIP_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaError, clip_name, frame_files, list_clips
from media.ownership import MARKER, OutputError, check_outputs, check_own, open_output_folder
from media.clips import ArrayClip, Clip, FolderClip
from media.names import DamageWarning, MediaWarning, describe_left_out, instead_of_frames, natural_key, natural_sorted
from media.names import describe_error, first_names, warn_in_one_line
from media.pictures import decode_image, has_pages, read_image, resize_frame, to_rgb8
from media.reading import open_clip, split_strip
from media.video import VideoClip
from media.writing import clip_writer, fast_png, folder_writer, gif_rate, gif_slowdown, gif_writer, mp4_writer
from media.writing import png_bytes, write_clip, write_frame_folder, write_image
