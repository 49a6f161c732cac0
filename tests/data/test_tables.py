"""Vectors from .csv and .npz files, and from a user's own arrays."""

import numpy as np
import pytest

from jaxgan import data
from jaxgan.data import open_source
from jaxgan.data.sources import tables
from jaxgan.training import DataSpec, UsageError
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.loading import load


def table(tmp_path, text, name="table.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return open_source(f"csv:{tmp_path / name}")


def test_a_table_with_names_and_classes(tmp_path):
    found = table(tmp_path, '\ufeffage,"height, m",label\r\n30,1.75,1\r\n\r\n-4e1,1.5,0\n')
    np.testing.assert_array_equal(found.images, np.array([[30, 1.75], [-40, 1.5]], np.float32))
    assert found.images.dtype == np.float32 and found.fields == ("vector",) and found.kind("vector") == "vectors"
    assert found.columns == ("age", "height, m") and found.labels.tolist() == [1, 0] and found.class_names == ("0", "1")
    assert found.name == "csv:table.csv"


def test_a_table_of_numbers_alone(tmp_path):
    found = table(tmp_path, "1, 2,3\n4,5 ,6\n")
    assert found.images.tolist() == [[1, 2, 3], [4, 5, 6]] and found.columns == () and found.class_names == ()


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n3,x\n", r"line 3, column 'b' holds 'x'; finite numbers are expected, with commas"),
        ("1,2\n3,nan\n", r"line 2, column 2 holds 'nan'"),
        ("1,2\n\n3,inf\n", r"line 3, column 2 holds 'inf'"),
        ("a\n1\n1e39\n", r"line 3, column 'a' holds '1e39'"),
        ("a,b\n1,\n", r"line 2, column 'b' holds ''"),
        ("a,b\n1,2_000\n", r"line 2, column 'b' holds '2_000'; finite numbers"),
        ("a\tb\n1\t2\n", r"line 2, column 'a\\tb' holds '1\\t2'; finite numbers"),
        ("a;b\n1;2\n", r"line 2, column 'a;b' holds '1;2'; finite numbers are expected, with commas"),
        ("a,b\n1,2\n3\n", r"line 3 has 1 columns, and the lines before have 2"),
        ("a,b\n", "holds no rows of numbers"),
        ("", "holds no rows of numbers"),
        ('a,b\n1,"2', "can't be read as a .csv file"),
        ("a,label\n1,0.5\n", r"line 2 has label 0\.5; whole numbers"),
        ("label\n1\n", "no column beside label"),
        ("a,label\n1,-1\n", "has label -1"),
    ],
)
def test_what_is_no_table_is_told_by_line_and_column(text, message, tmp_path):
    with pytest.raises(data.DataError, match=message) as error:
        table(tmp_path, text)
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(data.DataError, match=r"csv:.*none\.csv is not there; give the path of a \.csv file"):
        open_source(f"csv:{tmp_path / 'none.csv'}")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(data.DataError, match=r"can't be read as a \.csv file \(it is no UTF-8\); save it as UTF-8$"):
        open_source(f"csv:{tmp_path / 'bytes.csv'}")


def test_arrays_of_vectors(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    np.savez(tmp_path / "a.npz", vectors=vectors, labels=np.arange(20) % 2)
    found = open_source(f"npz:{tmp_path / 'a.npz'}")
    np.testing.assert_array_equal(found.images, vectors.astype(np.float32))
    assert found.class_names == ("0", "1") and found.fields == ("vector",)
    np.savez(tmp_path / "b.npz", images=np.zeros((4, 5, 6), np.uint8), sources=np.ones((4, 5, 6), np.uint8))
    found = open_source(f"npz:{tmp_path / 'b.npz'}")
    assert found.fields == ("image", "source") and found.arrays["source"].shape == (4, 5, 6, 1)
    np.savez(tmp_path / "c.npz", vectors=np.array([["a"]]))
    with pytest.raises(data.DataError, match=r"vectors of dtype <U1 and shape \(1, 1\); numbers \[N, D\]"):
        open_source(f"npz:{tmp_path / 'c.npz'}")
    np.savez(tmp_path / "d.npz", vectors=np.array([[0, 1], [2, np.nan]]))
    with pytest.raises(data.DataError, match=r"vectors has nan in row 1, column 1 \(counted from 0\)"):
        open_source(f"npz:{tmp_path / 'd.npz'}")


@pytest.mark.parametrize(
    "fields, message",
    [
        ({}, "no arrays"),
        ({"vectors": np.zeros((3, 0))}, r"shape \(3, 0\)"),
        ({"vectors": np.zeros((3, 2)), "columns": ["a"]}, "1 names for 2 columns"),
        ({"vectors": np.zeros((3, 2)), "source": np.zeros((4, 2))}, "4 examples of source, of vector 3"),
        ({"images": np.zeros((3, 2, 2), np.uint8), "source": np.zeros((3, 2, 2))}, "source of dtype float64; uint8"),
    ],
)
def test_sets_of_ones_own_are_checked(fields, message):
    with pytest.raises(data.DataError, match=f"mine: .*{message}"):
        data.from_arrays("mine", **fields)


def test_the_range_of_each_column_is_in_the_record():
    vectors = np.array([[1, 7, -2], [3, 7, 5], [2, 7, 0]])
    spec = DataSpec.of(data.from_arrays("mine", vectors=vectors, columns=["a", "b", "c"]))
    assert spec.main == "vector" and spec.shape == (3,) and spec.classes == 0 and spec.kind == "vectors"
    assert spec.field.low == (1, 7, -2) and spec.field.high == (3, 7, 5) and spec.field.columns == ("a", "b", "c")
    given = np.asarray(spec.medium.decode(vectors.astype(np.float32)))
    np.testing.assert_allclose(given, [[-1, 0, -1], [1, 0, 1], [0, 0, -3 / 7]], atol=1e-6)


def test_options_of_images_are_refused():
    for name, value in {"image_size": 28, "flip": True, "stream": True}.items():
        with pytest.raises(UsageError, match=f"diabetes is vectors, not images: --{name.replace('_', '-')} {value}"):
            load(DataOptions(dataset="diabetes", **{name: value}))
    assert load(DataOptions(dataset="diabetes", images="10%")).images.shape == (44, 10)


def test_endless_lines_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "LONGEST_LINE", 100)
    assert len(table(tmp_path, "1,2\n" * 100)) == 100
    with pytest.raises(data.DataError, match="has a line of more than 100 characters; it isn't a table"):
        table(tmp_path, "1,2\n" + "1," * 100)
    with pytest.raises(data.DataError, match=r"holds '1{80}'; finite"):
        table(tmp_path, "1\n" + "1" * 90)
    with pytest.raises(data.DataError, match="no regular file"):
        open_source("csv:/dev/zero")


def test_control_characters_in_columns_are_written_out(tmp_path):
    assert table(tmp_path, "\x1b[31m,b\n1,2\n").columns == ("\\x1b[31m", "b")
    with pytest.raises(data.DataError, match="holds") as error:
        table(tmp_path, "a\x1b,b\n1,\x1b\n")
    assert str(error.value).isprintable()
