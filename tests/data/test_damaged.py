"""Files of every format, cut short and with bits turned over: they are read, or refused in one line, and no more."""

import gzip
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from jaxgan import data
from jaxgan.data.errors import BadImage, DataError
from jaxgan.data.npz import read_npz
from jaxgan.data.sources import fetch, pictures
from jaxgan.data.sources.prepared import check_description
from jaxgan.data.sources.source import decode

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
TIMES = 120


def stored(kind, image=COLOUR, **how):
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **how)
    return out.getvalue()


PICTURES = {
    "png": lambda: stored("PNG"),
    "transparent png": lambda: stored("PNG", COLOUR[..., 0], transparency=3),
    "jpeg": lambda: stored("JPEG"),
    "gif": lambda: stored("GIF"),
    "webp": lambda: stored("WEBP"),
    "tiff": lambda: stored("TIFF"),
    "deflated tiff": lambda: stored("TIFF", compression="tiff_adobe_deflate"),
    "bmp": lambda: stored("BMP"),
    "pgm": lambda: stored("PPM", COLOUR[..., 0].astype(np.uint16) * 256),
    "pam": lambda: b"P7\nWIDTH 8\nHEIGHT 6\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + COLOUR.tobytes(),
    "avif": lambda: stored("AVIF"),
    "jp2": lambda: stored("JPEG2000"),
}


def damaged(whole):
    """Yields a file cut at places all over it, and with one to three bits turned over."""
    chosen = np.random.default_rng(0)
    for place in range(0, len(whole), max(1, len(whole) // TIMES)):
        yield whole[:place]
    for _ in range(TIMES):
        content = bytearray(whole)
        for place in chosen.integers(len(content), size=chosen.integers(1, 4)):
            content[place] ^= 1 << int(chosen.integers(8))
        yield bytes(content)


def tried(read, whole, *expected):
    """Reads the damaged copies of a file; returns how many were refused. Any other error, and 200 MB, fail."""
    read(whole)
    messages = []
    tracemalloc.start()
    try:
        for content in damaged(whole):
            try:
                read(content)
            except expected as error:
                messages.append(str(error))
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    assert all(message.isprintable() for message in messages)
    return len(messages)


@pytest.mark.filterwarnings("ignore")  # Pillow's and libtiff's, of what is damaged
@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(kind):
    if kind in ("avif", "jp2") and {"avif": "AVIF", "jp2": "JPEG2000"}[kind] not in pictures.formats():
        pytest.skip("this Pillow doesn't read it")
    assert tried(lambda content: decode(content, "x"), PICTURES[kind](), BadImage) > TIMES // 3


@pytest.fixture
def opening(tmp_path):
    """Returns a function of content that opens it as a data set of this prefix, and reads the first example."""

    def opening(prefix, suffix):
        path = tmp_path / f"x.{suffix}"

        def read(content):
            path.unlink(missing_ok=True)  # another file, at another time
            path.write_bytes(content)
            data.open_source(f"{prefix}:{path}")[0]

        return read

    return opening


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives(method, opening):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name in ("cat/a.bmp", "dog/b.bmp"):
            archive.writestr(name, stored("BMP", COLOUR[:2, :2]))
    assert tried(opening("folder", "zip"), out.getvalue(), DataError) > TIMES // 3


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays(save, opening):
    out = io.BytesIO()
    save(out, images=COLOUR[None], labels=[0], more=np.array("text"))
    assert tried(opening("npz", "npz"), out.getvalue(), DataError) > TIMES // 3
    assert tried(lambda content: read_npz(io.BytesIO(content), 10**7, "that"), out.getvalue(), ValueError) > TIMES // 3


def test_tables(opening):
    text = b"a,b,label\n" + b"1.5,-2e3,0\n" * 20
    assert tried(opening("csv", "csv"), text, DataError) > TIMES // 3


def test_original_files(tmp_path):
    images = np.arange(4 * 28 * 28, dtype=np.uint32).astype(np.uint8).tobytes()
    whole = gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 28, 0, 0, 0, 28]) + images)

    def read(content):
        (tmp_path / "x.gz").write_bytes(content)
        with fetch._reading(tmp_path / "x.gz"):
            fetch._idx(tmp_path / "x.gz", 28, 28)

    assert tried(read, whole, DataError) > TIMES // 3


def test_descriptions(tmp_path):
    """Nothing of what damaged descriptions name is imported: all classes in those that pass are TFDS's own."""
    of = {"pythonClassName": "tensorflow_datasets.core.features.image_feature.Image", "classLabel": {"numClasses": "9"}}
    whole = json.dumps({"featuresDict": {"features": {"image": of}}}).encode()
    (tmp_path / "dataset_info.json").write_text('{"splits": [{"name": "train", "shardLengths": ["1"]}]}')

    def read(content):
        (tmp_path / "features.json").write_bytes(content)
        check_description(tmp_path)

    assert tried(read, whole, DataError, ValueError) > TIMES // 3
