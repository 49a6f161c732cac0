"""What a run's record says of its data: there and back, of earlier runs too, and what a continued run must find."""

import json
import shutil

import jax
import numpy as np
import pytest

from experiments import gan_ring
from jaxgan import data
from jaxgan.media import Image, Points, Vectors
from jaxgan.training import GAN, DataSpec, Field, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.loading import Held

pytestmark = pytest.mark.usefixtures("as_users_have_it")

# As `options.json` had it before there were fields.
RING = {"name": "ring", "count": 100000, "size": 1, "channels": 2, "classes": 8, "content": "94ad99e7"}
DIGITS = {"name": "digits", "count": 1797, "size": 28, "channels": 1, "classes": 10, "content": "29096185"}


def sets():
    random = np.random.default_rng(0)
    table = data.from_arrays("table", vectors=random.normal(size=(5, 3)), columns="abc", labels=np.arange(5) % 2)
    pairs = data.from_arrays(
        "pairs", random.integers(0, 9, (4, 6, 8, 3), np.uint8), source=random.integers(0, 9, (4, 6, 8, 1), np.uint8)
    )
    return [DataSpec.of(each) for each in (table, pairs, {"a": table, "b": pairs}, data.open_source("ring"))]


@pytest.mark.parametrize("number", range(4))
def test_a_record_is_read_as_it_was_written(number):
    spec = sets()[number]
    assert DataSpec.from_record(json.loads(json.dumps(spec.record()))) == spec
    assert DataSpec.from_record(spec.record()).facts() == spec.facts()


def test_records_of_earlier_runs_are_read():
    ring, digits = DataSpec.from_record(RING), DataSpec.from_record(DIGITS)
    assert ring.medium == Points() and ring.shape == (1, 1, 2) and ring.classes == 8
    assert digits.medium == Image() and (digits.size, digits.channels, digits.classes) == (28, 1, 10)
    assert digits.fields["label"].counts == () and "label" not in DataSpec.from_record({**DIGITS, "classes": 0}).fields
    # What these sets are now, down to their checksums.
    for old, name in ((ring, "ring"), (digits, "digits")):
        now = DataSpec.of(data.open_source(name))
        assert now.facts() == old.facts() and len(now.fields["label"].counts) == old.classes


def test_a_run_of_before_is_continued_and_opened(tmp_path):
    options = {"checkpoint_every": 2, "batch_size": 8, "width": 8, "latent_size": 4, "devices": 1}
    train(gan_ring.build, gan_ring.Options(workdir=str(tmp_path / "new"), steps=2, **options))
    old = shutil.copytree(tmp_path / "new", tmp_path / "old")
    record = json.loads((old / "options.json").read_text())
    del record["options"]["hold_out"], record["options"]["lpips_weights"]  # options that there weren't
    (old / "options.json").write_text(json.dumps({**record, "data": RING}))
    assert open_run(old).sample(3).shape == (3, 1, 1, 2)
    state = train(gan_ring.build, gan_ring.Options(workdir=str(old), steps=4, **options))
    assert int(state.step) == 4
    (old / "options.json").write_text(json.dumps({**record, "data": {**RING, "count": 99}}))
    with pytest.raises(UsageError, match=r"count of the data 100000 \(the run has 99\)"):
        train(gan_ring.build, gan_ring.Options(workdir=str(old), steps=5, **options))
    (old / "options.json").write_text(json.dumps({**record, "data": {"name": "ring"}}))
    with pytest.raises(UsageError, match=r"options\.json has no description of data"):
        open_run(old)


def test_fields_are_described_once():
    table, pairs, both, _ = sets()
    assert table.field.medium == Vectors(table.field.low, table.field.high, ("a", "b", "c"))
    assert table.batch(7) == {
        "vector": jax.ShapeDtypeStruct((7, 3), np.float32),
        "label": jax.ShapeDtypeStruct((7,), np.int32),
    }
    assert list(pairs.fields) == ["image", "source"] and pairs.main == "image" and pairs.channels == 3
    assert both.batch(2)["b"]["source"].shape == (2, 6, 8, 1) and both.count == 4 and both.name == "a=table,b=pairs"
    assert both.like("a") is both.sets["a"].field and pairs.like("source").shape == (6, 8, 1)
    assert pairs.like("anything") is pairs.field
    assert set(both.contents) == {"a", "b"} and pairs.contents == {"": pairs.content}
    with pytest.raises(KeyError):
        Field("label", classes=3).medium  # noqa: B018


def labelled(labels, name="some"):
    return DataSpec.of(data.from_arrays(name, np.zeros((len(labels), 2, 2, 1), np.uint8), np.array(labels)))


def test_classes_without_examples_are_said_and_refused():
    from_one, gaps, one = labelled([1, 2, 3, 2]), labelled([0, 1, 5, 7, 8, 9, 12]), labelled([0, 1])
    assert (from_one.present, gaps.present, one.present) == ((1, 2, 3), (0, 1, 5, 7, 8, 9, 12), (0, 1))
    assert from_one.notes == [
        "NOTE: class 0 of some, of 0 to 3, has no images: never learned, and neither drawn nor scored"
    ]
    assert gaps.notes[0].startswith("NOTE: classes 2, 3, 4, 6, 10, 11 of some, of 0 to 12, have no images:")
    assert "classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 89 more of" in labelled([99]).notes[0]
    assert one.notes == [] and DataSpec.of(data.from_arrays("none", np.zeros((2, 2, 2, 1), np.uint8))).notes == []
    two = DataSpec("a=x,b=y", 2, sets={"a": one, "b": from_one})
    assert two.notes == from_one.notes
    with pytest.raises(UsageError, match=r"class 6 of some has no images, .* must be one of 0 to 1, 5, 7 to 9, 12$"):
        gaps.check_label(6)
    for label in (-1, 13):
        with pytest.raises(UsageError, match=f"the label must be from 0 to 12, the data's classes, got {label}"):
            gaps.check_label(label)
    for label in gaps.present:
        gaps.check_label(label)
    old = DataSpec.from_record(DIGITS)  # from before examples were counted
    assert old.present == tuple(range(10)) and old.notes == []
    old.check_label(0)
    assert DataSpec.from_record(json.loads(json.dumps(from_one.record()))).present == (1, 2, 3)


def test_a_change_of_any_field_changes_the_content():
    images = np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3)
    grey = images[..., :1].copy()
    contents = {
        DataSpec.of(data.from_arrays("x", images)).content,
        DataSpec.of(data.from_arrays("x", images, source=grey)).content,
        DataSpec.of(data.from_arrays("x", images, source=grey + 1)).content,
        DataSpec.of(data.from_arrays("x", images, other=grey)).content,
        DataSpec.of(data.from_arrays("x", images, np.array([0, 1]), source=grey)).content,
    }
    assert len(contents) == 5


# --- what is drawn depends on ---------------------------------------------------------------------------------------
def takes(sample, spec):
    gan = GAN(None, None, 4, sample)
    return Drawing(gan, spec, {"w": np.float32(1)}, lambda: Held({}, "none")).takes


def test_what_a_sample_depends_on_is_found_out():
    spec = DataSpec.of(
        data.from_arrays("x", np.zeros((4, 3, 3, 1), np.uint8), np.arange(4), source=np.zeros((4, 3, 3), np.uint8))
    )

    def noise(keys):
        return jax.vmap(lambda key: jax.random.normal(key, (3, 3, 1)))(keys)

    assert takes(lambda state, examples, keys: {"image": noise(keys)}, spec) == set()
    # Handed on, or looked at, but of no consequence.
    copied = lambda state, examples, keys: {"image": {**examples, "image": noise(keys)}["image"]}  # noqa: E731
    assert takes(copied, spec) == set()
    unused = jax.jit(lambda examples, keys: (noise(keys), examples["source"] + 1)[0])
    assert takes(lambda state, examples, keys: {"image": unused(examples, keys)}, spec) == set()
    by_label = lambda examples, keys: noise(keys) * examples["label"][:, None, None, None]  # noqa: E731
    assert takes(lambda state, examples, keys: {"image": by_label(examples, keys)}, spec) == {("label",)}
    through = jax.jit(lambda x: jax.lax.scan(lambda carry, _: (carry + x, None), x, None, 3)[0])
    assert takes(lambda state, examples, keys: {"image": through(examples["source"])}, spec) == {("source",)}
    both = DataSpec.of({"a": data.open_source("ring"), "b": data.open_source("digits")})
    found = takes(lambda state, examples, keys: {"a": examples["b"]["image"][:, :1, :1] * state["w"]}, both)
    assert found == {("b", "image")}


def test_examples_that_are_needed_must_be_there():
    spec = DataSpec.single("x", 4, (3, 3, 1))
    gan = GAN(None, None, 4, lambda state, examples, keys: {"image": examples["image"]})
    with pytest.raises(ValueError, match=r"depends on \[\('image',\)\]: examples are needed"):
        Drawing(gan, spec, {"w": np.float32(1)})
