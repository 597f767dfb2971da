"""Pictures: every format of pixel, what their files say about it, every way to be broken."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.data import astronaut

import media
from media import MediaError, MediaWarning, pictures
from tests.pictures import noise, smooth

FACE = astronaut()[:64, 180:244]


# ------------------------------------------------------------------------------------------ formats of pixel
def test_grey_alpha_and_palette(tmp_path):
    grey = noise(1)[0, ..., 0]
    color = noise(1, seed=1)[0]
    alpha = np.full((32, 32, 1), 255, np.uint8)
    alpha[:16] = 0
    cases = {
        "grey": (grey, grey[..., None]),
        "rgb": (color, color),
        "rgba": (np.dstack([color, alpha]), np.where(alpha, color, 0)),
        "la": (np.dstack([grey, alpha]), np.where(alpha, grey[..., None], 0)),
        "bits": (grey > 127, np.where(grey > 127, 255, 0)[..., None]),
    }
    for name, (array, expected) in cases.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        image = media.read_image(tmp_path / f"{name}.png")
        assert image.dtype == np.uint8, name
        assert np.array_equal(image, np.broadcast_to(expected, (32, 32, 3))), name
    palette = Image.fromarray(color).quantize(16)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(media.read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


def test_sixteen_bits(tmp_path):
    """0 … 65535 maps onto 0 … 255 with both ends exact: no cast to the low byte, no unrounded shift."""
    values = np.linspace(0, 65535, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = media.read_image(tmp_path / "a.png")
    assert np.array_equal(image[..., 0], np.round(values / 257).astype(np.uint8))
    assert (image.min(), image.max()) == (0, 255)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert np.array_equal(media.read_image(tmp_path / "a.tiff"), image)


def test_bright_jpeg_does_not_wrap(tmp_path):
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(tmp_path / "a.jpg")
    assert np.abs(media.read_image(tmp_path / "a.jpg").astype(int) - 200).max() <= 1


def test_floats_and_illegal_arrays():
    image = np.zeros((4, 4, 3), np.float32)
    image[0, 0] = [0.5, 1.0, 2.0]
    assert media.to_rgb8(image)[0, 0].tolist() == [128, 255, 255]
    image[0, 0, 0] = np.nan
    with pytest.raises(MediaError, match="NaN"):
        media.to_rgb8(image, "x.tif")
    with pytest.raises(MediaError, match=r"\(4, 4, 5\)"):
        media.to_rgb8(np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(MediaError, match="int64"):
        media.to_rgb8(np.zeros((4, 4), np.int64))


def test_photographs_are_turned_upright(tmp_path):
    frame = noise(1, 16, 32)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    Image.fromarray(frame).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(media.read_image(tmp_path / "a.png"), np.rot90(frame, -1))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_broken_pictures_never_crash(tmp_path, suffix):
    """Cut short anywhere or with a wrong byte, a picture is read or refused as a MediaError that names it."""
    whole, broken = tmp_path / f"a{suffix}", tmp_path / f"broken{suffix}"
    Image.fromarray(noise(1)[0]).save(whole)
    raw = whole.read_bytes()
    rng = np.random.default_rng(0)
    contents = [raw[:cut] for cut in (*range(0, 64, 3), *range(64, len(raw), len(raw) // 20))]
    for _ in range(60):
        changed = bytearray(raw)
        changed[rng.integers(min(len(raw), 300))] ^= int(rng.integers(1, 256))
        contents.append(bytes(changed))
    refused = 0
    for content in contents:
        broken.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                media.read_image(broken)
        except MediaError as error:
            refused += 1
            assert str(broken) in str(error)
    assert refused > 20


def test_resize_keeps_means_and_leaves_equal_sizes_alone():
    frame = smooth(1)[0]
    assert media.resize_frame(frame, 48, 64) is frame
    small = media.resize_frame(frame, 24, 32)
    assert small.shape == (24, 32, 3)
    blocks = frame.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - blocks).max() <= 0.51  # area averaging, exactly
    assert media.resize_frame(frame, 96, 128).shape == (96, 128, 3)


# ------------------------------------------------------------------------------------------ what files say
def tiff(values: np.ndarray, order: str = "<", photometric: int = 1, **tags: int) -> bytes:
    """A grey TIFF, uncompressed: ``values`` (H, W), in the byte ``order``, with further tags as ``t281=4095``."""
    data = values.astype(values.dtype.newbyteorder(order))
    height, width = data.shape
    kind = {"u": 1, "i": 2, "f": 3}[data.dtype.kind]
    fields = {
        256: width,
        257: height,
        258: 8 * data.itemsize,
        259: 1,
        262: photometric,
        277: 1,
        278: height,
        279: data.nbytes,
        339: kind,
    }
    fields |= {int(name[1:]): value for name, value in tags.items()} | {
        273: 8 + 2 + 12 * (len(fields) + len(tags) + 1) + 4
    }
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(fields))
    for tag, value in sorted(fields.items()):
        out += struct.pack(f"{order}HHII", tag, 4, 1, value)
    return out + struct.pack(f"{order}I", 0) + data.tobytes()


RAMP = np.linspace(0, 65535, 64 * 48).reshape(48, 64)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("values", "options"),
    [
        (RAMP.round().astype(np.uint16), {}),
        (65535 - RAMP.round().astype(np.uint16), {"photometric": 0}),  # white is zero
        ((RAMP / 16).round().astype(np.uint16), {"t281": 4096}),  # a camera of 12 bits that says so
        ((RAMP / 65535).astype(np.float32), {}),
    ],
    ids=["16 bits", "white is zero", "12 of 16 bits", "float"],
)
def test_byte_order_and_range_of_a_tiff(tmp_path, order, values, options):
    if order == ">" and "photometric" in options:
        pytest.skip("Pillow knows no such TIFF")
    (tmp_path / "a.tif").write_bytes(tiff(values, order, **options))
    image = media.read_image(tmp_path / "a.tif")
    assert np.abs(image - (RAMP / 257)[..., None]).max() <= 0.6
    assert (image.min(), image.max()) == (0, 255)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tiff((RAMP / 257).astype(np.float32)), r"values of 0 … 255; legal are floats of 0 … 1"),
        (tiff((RAMP * 60000).astype(np.uint32)), "32-bit whole numbers"),
        (tiff((RAMP / 2).astype(np.int16)), "16-bit whole numbers, or signed ones"),
        (tiff(RAMP.astype(np.uint16), t254=1), "a preview alone.*export it as JPEG"),
    ],
    ids=["floats beyond 1", "32 bits", "signed", "raw photo"],
)
def test_ranges_that_nobody_knows_are_refused(tmp_path, content, said):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(MediaError, match=rf"a\.tif .*{said}"):
        media.read_image(tmp_path / "a.tif")


def test_cmyk_and_transparency(tmp_path):
    """Whether by an alpha channel, a colour of the palette or one colour: what is transparent becomes black."""
    picture = Image.fromarray(FACE)
    picture.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(media.read_image(tmp_path / "a.jpg").astype(int) - FACE).mean() < 3
    picture.save(tmp_path / "a.png", transparency=tuple(map(int, FACE[0, 0])))
    assert media.read_image(tmp_path / "a.png")[0, 0].tolist() == [0, 0, 0]
    palette = picture.quantize(16)
    palette.save(tmp_path / "a.png", transparency=palette.getpixel((5, 5)))
    assert media.read_image(tmp_path / "a.png")[5, 5].tolist() == [0, 0, 0]


def wide_profile() -> bytes:
    """sRGB's profile with red and blue exchanged: a profile that clearly changes colours."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack(">I", icc[128:132])[0]):
        at = 132 + 12 * index
        icc[at : at + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(bytes(icc[at : at + 4]), icc[at : at + 4])
    return bytes(icc.replace(b"s\0R\0G\0B", b"w\0i\0d\0e").replace(b"sRGB", b"wide"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour_profiles_are_converted(tmp_path, mode):
    """A picture whose profile exchanges red and blue is shown with both exchanged; one in sRGB stays as it is."""
    picture = Image.fromarray(FACE).convert(mode)
    plain = np.asarray(picture.convert("RGB"))
    picture.save(tmp_path / "a.png", icc_profile=wide_profile())
    assert np.abs(media.read_image(tmp_path / "a.png").astype(int) - plain[..., ::-1]).mean() < 2
    picture.save(tmp_path / "b.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert np.array_equal(media.read_image(tmp_path / "b.png"), plain)


@pytest.mark.parametrize("icc", [b"nonsense" * 20, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_profiles_of_no_use_are_said(tmp_path, icc):
    Image.fromarray(FACE).save(tmp_path / "a.png", icc_profile=icc)
    with pytest.warns(MediaWarning, match=r"a\.png: its colour profile cannot be used"):
        assert np.array_equal(media.read_image(tmp_path / "a.png"), FACE)


def test_large_pictures(tmp_path, monkeypatch):
    """No warning of Pillow's, and beyond the limit a line that says it, before anything is decoded."""
    monkeypatch.setattr(pictures, "MAX_PIXELS", 64 * 64)
    for mode, size in (("1", (10000, 9000)), ("RGB", (65, 64))):
        Image.new(mode, size).save(tmp_path / "a.png")
        with (
            warnings.catch_warnings(),
            pytest.raises(MediaError, match=rf"a\.png is {size[0]}×{size[1]}.*make it smaller"),
        ):
            warnings.simplefilter("error")
            media.read_image(tmp_path / "a.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    assert media.read_image(tmp_path / "a.png").shape == (64, 64, 3)


def test_memory_that_runs_out_names_the_picture(tmp_path, monkeypatch):
    def hungry(*arguments):
        raise MemoryError

    Image.fromarray(FACE).save(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "to_rgb8", hungry)
    with pytest.raises(MediaError, match=r"a\.png does not fit the memory \(64×64"):
        media.read_image(tmp_path / "a.png")


# ------------------------------------------------------------------------------------------ several in one
def test_a_photo_that_is_a_clip_is_refused(tmp_path):
    first, *others = map(Image.fromarray, smooth(10))
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    with pytest.raises(MediaError, match=r"a\.tif holds 10 pictures .* only the first would be read"):
        media.read_image(tmp_path / "a.tif")
    with open(tmp_path / "a.tif", "rb") as file, pytest.raises(MediaError, match="member holds 10 pictures"):
        media.decode_image(io.BytesIO(file.read()), "member")
    assert media.has_pages(tmp_path / "a.tif")
    first.save(tmp_path / "one.tif")
    assert not media.has_pages(tmp_path / "one.tif")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    assert not media.has_pages(tmp_path / "broken.tif")


def test_what_phones_add_to_a_photo_is_no_clip(tmp_path):
    first, *others = map(Image.fromarray, smooth(3))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=others)
    assert media.read_image(tmp_path / "a.jpg").shape == (48, 64, 3)
    assert len(media.open_clip(tmp_path / "a.jpg", (48, 64))) == 1


def test_a_tiff_with_a_preview_is_one_picture(tmp_path):
    preview = Image.new("RGB", (8, 8))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(FACE).save(tmp_path / "a.tif", save_all=True, append_images=[preview])
    assert np.array_equal(media.read_image(tmp_path / "a.tif"), FACE)


def test_pages_of_several_sizes_are_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("RGB", (9, 8))])
    with pytest.raises(MediaError, match=r"differ in size \(8×8, 9×8"):
        media.open_clip(tmp_path / "a.tif")
