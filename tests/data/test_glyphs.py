"""Characters in DejaVu Sans and Serif: which they are, how they are drawn, and that no letter is on both sides."""

import unicodedata

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from jaxgan import data
from jaxgan.data.sources import glyphs as module
from jaxgan.data.sources.glyphs import characters, glyphs
from jaxgan.training import UsageError
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.loading import drawn_from, held_out, load


@pytest.fixture(scope="module")
def sets():
    return {split: glyphs(split) for split in ("train", "test")}


def ink(face, character):
    """Draws one character four times as large with Pillow alone, in the middle and on row 160. Returns its ink, and
    where that is: left, top, right, bottom."""
    picture = Image.new("L", (384, 256))
    ImageDraw.Draw(picture).text((128, 160), character, fill=255, font=face, anchor="ls")
    box = picture.getbbox()
    return np.asarray(picture.crop(box)).sum(dtype=np.int64), box


def test_which_characters():
    every = characters()
    assert len(every) == 1926 and every == sorted(every)
    kinds = {unicodedata.category(each) for each in every}
    assert kinds == {"Lu", "Ll", "Lt", "Lm", "Lo", "Nd"}
    assert {*"09AZaz", "Ω", "Ж", "Ձ", "ß"} <= set(every) and not {"!", "½", "Ⅳ", " ", "٣"} & set(every)


def test_the_pictures_and_the_splits(sets):
    assert {split: len(found) for split, found in sets.items()} == {"train": 1545, "test": 212}
    for found in sets.values():
        assert found.name == "glyphs" and found.fields == ("image", "source") and found.class_names == ()
        for array in found.arrays.values():
            assert array.dtype == np.uint8 and array.shape[1:] == (32, 32, 1)
            assert array.max((1, 2, 3)).min() > 60 and array.min() == 0  # something is drawn in each
    image, source = (np.concatenate([found.arrays[name] for found in sets.values()]) for name in ("image", "source"))
    assert len(np.unique(image.reshape(1757, -1), axis=0)) == len(np.unique(source.reshape(1757, -1), axis=0)) == 1757
    assert np.sum((image == source).all((1, 2, 3))) == 2  # as its docstring says


def test_nothing_is_cut_off_and_both_typefaces_have_one_baseline():
    every = characters()
    for name, path in zip(("Sans", "Serif"), module._fonts(), strict=True):
        face = ImageFont.truetype(f"{mpl.get_data_path()}/fonts/ttf/DejaVu{name}.ttf", 84)
        for each, picture in zip(every, module._pictures(path, every), strict=True):
            whole, (left, top, right, bottom) = ink(face, each)
            # All of its ink is there: 16 pixels of the drawing are one, rounded to a level.
            assert abs(whole / 16 - picture.sum(dtype=np.int64)) <= 0.5 * np.count_nonzero(picture) + 16, each
            rows, columns = (np.flatnonzero(picture[..., 0].any(axis)) for axis in (1, 0))
            # Row 160 of the drawing is row 25 here; faint edges may round to black.
            assert 0 <= rows[0] - (top - 60) // 4 <= 1 and 0 <= (bottom - 1 - 60) // 4 - rows[-1] <= 1, each
            assert abs(columns[0] - (31 - columns[-1])) <= 1, each  # centred
            assert columns[-1] - columns[0] <= (right - left) // 4 + 1, each


def test_no_letter_is_tested_that_training_has_seen_with_another_accent(sets):
    every = characters()
    pictures = module._pictures(module._fonts()[0], every)
    character = dict(zip(map(bytes, pictures[::-1]), every[::-1], strict=True))
    sides = [{character[bytes(each)] for each in sets[split].arrays["source"]} for split in ("train", "test")]
    of = dict(zip(every, map(bytes, pictures), strict=True))

    def letters(characters):
        bare = (unicodedata.normalize("NFD", each)[0] for each in characters)
        return {character[of[each]] for each in bare if each in of}

    assert len(sides[0]) == 1545 and len(sides[1]) == 212 and not sides[0] & sides[1]
    assert not letters(sides[0]) & letters(sides[1])
    together = [set("AÁẠẬ"), set("oôộò"), set("nñṇ")]
    assert all(group <= sides[0] or group <= sides[1] for group in together)


def test_by_name_and_as_a_runs_data(sets, tmp_path):
    for split, found in sets.items():
        opened = data.open_source("glyphs", split=split)
        assert opened.identity() == found.identity()
    options = DataOptions("glyphs")
    loaded = load(options)
    np.testing.assert_array_equal(loaded.arrays["source"], sets["train"].arrays["source"])
    spec = DataSpec.of(loaded)
    assert spec.shape == (32, 32, 1) and spec.classes == 0 and list(spec.fields) == ["image", "source"]
    held, about = held_out(options)
    assert about == "the test images" and held.identity() == sets["test"].identity()
    assert len(drawn_from(options, spec).examples["source"]) == 212
    kept, about = held_out(DataOptions("glyphs", hold_out="20"))
    assert len(kept) == 20 and about == "20 of the set, held out"


def test_what_is_not_there_is_said(monkeypatch, tmp_path):
    with pytest.raises(data.DataError, match=r"^glyphs has splits train, test, no validation split$"):
        data.open_source("glyphs", split="validation")
    with pytest.raises(UsageError, match="perhaps you meant glyphs"):
        load(DataOptions("glyph"))
    monkeypatch.setattr(mpl, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(data.DataError, match=r"^matplotlib's fonts can't be read \(.*\); install matplotlib again$"):
        glyphs()
