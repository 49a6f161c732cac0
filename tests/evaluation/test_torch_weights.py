"""`.pth` files: two that PyTorch saved are read to the bit; those that do harm, lie or are damaged are refused."""

import io
import pathlib
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from jaxgan.evaluation.features.torch_weights import read_pth, read_weights

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
GOLDEN = np.load(FOLDER / "inception.npz")
FORMATS = ["zip", "legacy"]

every_format = pytest.mark.parametrize("form", FORMATS)


@every_format
def test_what_pytorch_saved(form):
    """Every type, a parameter, views with offsets and strides of one storage, scalars, and an empty tensor."""
    expected = {name.removeprefix("pth/"): GOLDEN[name] for name in GOLDEN.files if name.startswith("pth/")}
    found = read_pth(FOLDER / f"inception.{form}.pth")
    assert list(found) == list(expected) and len(found) == 19
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert not found[name].flags.writeable or not found[name].size


# Stand-ins with PyTorch's names, so that Python's own pickle writes what torch.save would.
class Named:
    """An object that is pickled as the name of a Python object."""

    def __init__(self, name):
        self.module, _, self.name = name.rpartition(".")


class Called:
    """An object that is pickled as a call."""

    def __init__(self, what, *arguments):
        self.what, self.arguments = what, arguments


class Stored:
    """An object that is pickled as a reference to a storage."""

    def __init__(self, *words):
        self.words = words


class Pickler(pickle._Pickler):  # the one in Python, whose methods can be replaced
    def persistent_id(self, value):
        return value.words if isinstance(value, Stored) else None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Named):
            self.write(f"c{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Called):
            self.save(value.what)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def pickled(value):
    stream = io.BytesIO()
    Pickler(stream, 2).dump(value)
    return stream.getvalue()


def storage(count=6, key="0", kind="torch.FloatStorage", more=()):
    return Stored("storage", Named(kind), key, "cpu", count, *more)


def tensor(shape=(2, 3), strides=(3, 1), offset=0, of=None):
    rebuild = Named("torch._utils._rebuild_tensor_v2")
    return Called(rebuild, of or storage(), offset, shape, strides, False, Called(Named("collections.OrderedDict")))


NUMBERS = np.arange(6, dtype=np.float32).tobytes()


def zipped(value, data=NUMBERS, *, root="archive", compression=zipfile.ZIP_STORED, **more):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", value if isinstance(value, bytes) else pickled(value))
        for name, content in ({"data/0": data} | more).items():
            archive.writestr(f"{root}/{name}", content)
    return stream.getvalue()


def legacy(value, data=NUMBERS, *, keys=("0",), count=6, magic=0x1950A86A20F9469CFC6C, little_endian=True):
    head = [magic, 1001, {"protocol_version": 1001, "little_endian": little_endian}]
    pickles = [*map(pickled, head), value if isinstance(value, bytes) else pickled(value), pickled(list(keys))]
    return b"".join([*pickles, count.to_bytes(8, "little"), data])


MAKE = {"zip": zipped, "legacy": legacy}


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "weights.pth").write_bytes(content)
        return read_pth(tmp_path / "weights.pth")

    return read


@every_format
def test_files_made_here(form, read):
    """The parts of the refused files below are no reason to refuse them."""
    [(name, array)] = read(MAKE[form]({"w": tensor()})).items()
    assert name == "w"
    np.testing.assert_array_equal(array, np.arange(6, dtype=np.float32).reshape(2, 3))
    transposed = read(MAKE[form]({"w": tensor((2, 2), (1, 3), 1)}))["w"]
    np.testing.assert_array_equal(transposed, np.float32([[1, 4], [2, 5]]))


@every_format
def test_a_checkpoint_around_the_weights(form, read):
    other = tensor(of=storage(1, "1"), shape=(1,), strides=(1,))
    checkpoint = {"epoch": 3, "rate": 0.5, "optimizer": {0: [other, None, True]}, "state_dict": {"w": tensor()}}
    content = zipped(checkpoint) if form == "zip" else legacy(checkpoint, NUMBERS + bytes([1, *[0] * 11]), keys="01")
    assert list(read(content)) == ["w"]


def test_as_python_2_wrote_dictionaries(read):
    found = read(zipped(Called(Named("collections.OrderedDict"), [["a", tensor()], ["b", tensor()]])))
    assert list(found) == ["a", "b"]


def test_a_protocol_with_other_operations(read):
    """Protocol 4 has frames and other ways to write names and texts."""
    inner = pickle.dumps(OrderedDict(), 4)
    assert b"\x93" in inner and b"\x94" in inner  # STACK_GLOBAL, MEMOIZE
    with pytest.raises(ValueError, match="no dictionary of tensors"):  # read, and empty
        read(zipped(inner))


class Harm:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@every_format
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_executed(form, protocol, read, tmp_path):
    """A marker file would appear: with Python's own unpickler it does."""
    marker = tmp_path / "marker"
    for harm in (Harm(pathlib.Path.touch, marker), Harm(eval, f"open({str(marker)!r}, 'w').close()")):
        content = pickle.dumps({"w": harm}, protocol)
        with pytest.raises(ValueError, match=r"it holds '(pathlib|builtins|__builtin__)\.\w+.*nothing of it was"):
            read(MAKE[form](content))
        assert not marker.exists()
        pickle.loads(content)  # noqa: S301 - made three lines above
        assert marker.exists()
        marker.unlink()


@pytest.mark.parametrize("name", ["os.system", "posix.system", "numpy.load", "torch.load", "torch._utils.x", "io.open"])
def test_names_are_not_imported(name, read):
    for value in (Named(name), Called(Named(name), "true"), {"w": Called(Named(name), "true")}):
        with pytest.raises(ValueError, match=f"it holds '{name}'"):
            read(zipped(value))


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param(b"\x80\x02ios\nsystem\n(S'true'\no.", id="inst"),
        pytest.param(b"\x80\x02ccollections\nOrderedDict\n)\x81.", id="newobj"),
        pytest.param(b"\x80\x02\x82\x01.", id="extension"),
        pytest.param(b"\x80\x02c" + b"o" * 200 + b"\nsystem\n.", id="long-name"),
        pytest.param(b"\x80\x02K\x01K\x02R.", id="call-of-a-number"),
        pytest.param(b"\x80\x02ctorch\nFloatStorage\nK\x01\x85R.", id="call-of-a-storage"),
        pytest.param(b"\x80\x02ccollections\nOrderedDict\n]K\x01a\x85R.", id="pairs-that-are-none"),
        pytest.param(b"\x80\x02].", id="a-list"),
        pytest.param(b"\x80\x02}.", id="an-empty-dictionary"),
        pytest.param(b"\x80\x02}K\x01K\x02s.", id="numbers"),
        pytest.param(b"\x80\x02}]K\x02s.", id="a-list-as-key"),
        pytest.param(b"\x80\x02}u.", id="no-mark"),
        pytest.param(b"\x80\x02(}U\x01au.", id="half-a-pair"),
        pytest.param(b"\x80\x02h\x07.", id="nothing-remembered"),
        pytest.param(b"\x80\x02r\xff\xff\xff\xff.", id="remembers-nothing"),
        pytest.param(b"\x80\x02X\xff\xff\xff\x7fa.", id="text-of-2-GB"),
        pytest.param(b"\x80\x02.", id="nothing"),
        pytest.param(b"\x80\x02}", id="no-end"),
        pytest.param(b"\x80\x02K\x01Q.", id="reference-to-a-number"),
        pytest.param(b"garbage", id="garbage"),
    ],
)
@every_format
def test_pickles_that_no_weights_are(form, operations, read):
    with pytest.raises(ValueError, match=r"^cannot read weights from .*weights.pth: .{5,400}$"):
        read(MAKE[form](operations))


@pytest.mark.parametrize(
    "bad, message",
    [
        pytest.param(tensor((2, 4), (3, 1)), "'w' does not lie within its storage of 6 numbers", id="stride-too-long"),
        pytest.param(tensor((2, 3), (3, 1), 1), "does not lie within", id="offset-too-far"),
        pytest.param(tensor((2, 3), (3, 1), -1), "does not lie within", id="offset-before"),
        pytest.param(tensor((2, 3), (-3, 1), 5), "does not lie within", id="backwards"),
        pytest.param(tensor((-2, 3), (3, 1)), "does not lie within", id="negative-size"),
        pytest.param(tensor((2**40,), (0,)), "does not lie within", id="repeated"),
        pytest.param(tensor((2**200, 2**200), (2**200, 1)), "does not lie within", id="overflow"),
        pytest.param(tensor((0, 2**200), (1, 1)), "does not lie within", id="nothing-of-any-size"),
        pytest.param(tensor((2,), (2**63,)), "does not lie within", id="stride-overflow"),
        pytest.param(tensor((2, 3), (1,)), "in a way that weights never do", id="a-stride-short"),
        pytest.param(tensor((1,) * 100, (1,) * 100), "in a way that weights never do", id="100-dimensions"),
        pytest.param(tensor((2.0, 3), (3, 1)), "in a way that weights never do", id="half-sizes"),
        pytest.param(tensor(of=storage(7)), "24 bytes where 7 numbers|cut short", id="storage-too-small"),
        pytest.param(tensor(of=storage(5)), "24 bytes where 5 numbers|cut short", id="storage-too-large"),
        pytest.param(tensor(of=storage(2**60)), "24 bytes where 1152921504606846976|cut short", id="huge-storage"),
        pytest.param(tensor(of=storage(-1)), "says of a storage is damaged", id="negative-storage"),
        pytest.param(tensor(of=storage(key="1")), "'data/1' is missing|cut short", id="missing-storage"),
        pytest.param(tensor(of=storage(kind="torch.QInt8Storage")), "it holds 'torch.QInt8Storage'", id="quantized"),
        pytest.param(tensor(of=storage(more=[("1", 0, 6)])), "before 0.4", id="views-of-storages"),
        pytest.param(tensor(of=storage(kind="collections.OrderedDict")), "of a storage is damaged", id="no-storage"),
        pytest.param([tensor()], "entry 'w' is no tensor", id="a-list-of-tensors"),
        pytest.param(0.5, "entry 'w' is no tensor|cut short", id="a-number"),
    ],
)
@every_format
def test_tensors_that_lie(form, bad, message, read):
    with pytest.raises(ValueError, match=message):
        read(MAKE[form]({"w": bad}))


@every_format
def test_one_storage_of_two_kinds(form, read):
    with pytest.raises(ValueError, match="storage '0' is declared in two ways"):
        read(MAKE[form]({"a": tensor(), "b": tensor(of=storage(3, kind="torch.DoubleStorage"))}))


@pytest.mark.parametrize(
    "content, message",
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"<!DOCTYPE html>\n<html>", "begins with b'<!DOCTYPE html>", id="web-page"),
        pytest.param(pickle.dumps({"a": 1}, 2), "not one of PyTorch's", id="another-pickle"),
        pytest.param(pickled(0x1950A86A20F9469CFC6C) + pickled(7), "protocol is not 1001", id="protocol"),
        pytest.param(legacy({"w": tensor()}, little_endian=False), "big-endian", id="big-endian"),
        pytest.param(zipped({"w": tensor()}, byteorder=b"big"), "big-endian", id="big-endian-zip"),
        pytest.param(zipped({"w": tensor()}, root="a/b"), "no FOLDER/data.pkl", id="another-zip"),
        pytest.param(zipped({"w": tensor()}, compression=zipfile.ZIP_DEFLATED), "compressed", id="compressed"),
        pytest.param(zipped({"w": tensor()}, bytes(10**6), compression=zipfile.ZIP_DEFLATED), "comp", id="zip-bomb"),
        pytest.param(legacy({"w": tensor()}, count=7), "cut short", id="another-count"),
        pytest.param(legacy({"w": tensor()}, keys=["1"]), "cut short", id="another-key"),
        pytest.param(legacy({"w": tensor()}, keys=[["0"]]), "cut short", id="no-key"),
        pytest.param(legacy({"w": tensor()}, keys=[]), "0 bytes where 6 numbers", id="no-storages"),
    ],
)
def test_other_files(content, message, read):
    with pytest.raises(ValueError, match=message):
        read(content)


def test_entries_that_overlap(read):
    """A zip whose directory lists one entry's bytes many times declares more than it has."""
    content = zipped({"w": tensor()}, bytes(4000))
    start = content.index(b"PK\x01\x02")
    directory, end = content[start : content.index(b"PK\x05\x06")], content[content.index(b"PK\x05\x06") :]
    count = int.from_bytes(end[8:10], "little") * 20
    end = end[:8] + count.to_bytes(2, "little") * 2 + (20 * len(directory)).to_bytes(4, "little") + end[16:]
    with pytest.raises(ValueError, match="declare more bytes than the file has"):
        read(content[:start] + directory * 20 + end)


def test_paths(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read weights from .*: it is a folder"):
        read_pth(tmp_path)
    with pytest.raises(ValueError, match=r"cannot read weights from .*/none.pth: it is not there"):
        read_pth(str(tmp_path / "none.pth"))


@every_format
def test_cut_files(form, read):
    """At every length: PyTorch's own file, without its end, is never read as if it were whole."""
    content = (FOLDER / f"inception.{form}.pth").read_bytes()
    for length in range(0, len(content) - 1, 13):
        with pytest.raises(ValueError, match=r"^cannot read weights from .*weights.pth: "):
            read(content[:length])


@every_format
def test_damaged_files(form, read):
    """Bytes are changed at random: the file is read, or refused in one line, and nothing else happens."""
    content = np.frombuffer((FOLDER / f"inception.{form}.pth").read_bytes(), np.uint8)
    random, refused, unseen = np.random.default_rng(0), 0, 0
    for _ in range(300):
        damaged = content.copy()
        damaged[random.integers(len(content), size=3)] = random.integers(0, 256, 3)
        try:
            read(damaged.tobytes())
        except ValueError as error:
            refused += str(error).startswith("cannot read weights from ") and len(str(error)) < 500
        else:
            unseen += 1
    assert refused + unseen == 300 and refused > 100


def test_arrays_take_no_more_memory_than_weights_need(tmp_path):
    """Compressed ones may unpack to 16 times their size, and to 64 MiB at any rate; numbers that were trained do."""
    path = tmp_path / "w.npz"
    trained = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    for save in (np.savez, np.savez_compressed):
        save(path, w=trained, b=np.zeros(10**6, np.float32))
        np.testing.assert_array_equal(read_weights(path)["w"], trained)
    np.savez_compressed(path, w=np.zeros(70 << 20, np.uint8))
    with pytest.raises(
        ValueError, match=r"^cannot read weights from .*w\.npz: it unpacks to 73,400,448 bytes, more than"
    ):
        read_weights(path)


def test_damaged_arrays(tmp_path):
    path = tmp_path / "w.npz"
    np.savez_compressed(path, w=np.arange(12.0))
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for i in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(len(whole), size=2)] = random.integers(0, 256, 2)
        path.write_bytes(damaged.tobytes()[: len(whole) - i % 3 * random.integers(1, len(whole))])
        try:
            read_weights(path)
        except ValueError as error:
            refused += str(error).startswith("cannot read weights from ") and "\n" not in str(error)
    assert refused > 200


@every_format
def test_pickles_that_are_nested_deeply(form, read):
    """Nothing here calls itself for what is inside: Python's own unpickler's results can't even be compared."""
    for inner in (b")" + b"\x85" * 10**5, b"]" + b"q\x00h\x00a" * 10**4, b"(" * 10**5 + b"t" * 10**5):
        with pytest.raises(ValueError, match=r"^cannot read weights from .*weights.pth: .{5,400}$"):
            read(MAKE[form](b"\x80\x02" + inner + b"."))
        with pytest.raises(ValueError, match=r"^cannot read weights from .*weights.pth: .{5,400}$"):
            read(MAKE[form](b"\x80\x02}X\x01\x00\x00\x00w" + inner + b"s."))
