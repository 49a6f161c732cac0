"""Original files from a server in this process: downloads, stored files, and the messages where something fails."""

import errno
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from tfds_records import needs

from jaxgan.data import open_source
from jaxgan.data.errors import DataError
from jaxgan.data.sources import fetch, requirements

ROOT = pathlib.Path(__file__).parents[2]
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        self.server.asked.append(name)
        answer = self.server.answers[name]
        if callable(answer):
            answer(self)
        elif isinstance(answer, int):
            self.send_error(answer)
        else:
            self.send(answer)

    def send(self, content, length=None, **headers):
        self.send_response(302 if headers else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """A server that sends the entry of a file's name in `answers`, and appends every request to `asked`."""

    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.answers, self.over = [], {}, threading.Event()

    def handle_error(self, *_):
        pass  # a client that hung up


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def offer(server, monkeypatch):
    """Puts files on the server and into the registry, under the server's address or another."""

    def offered(files, host=None):
        server.answers.update(files)
        host = host or f"http://127.0.0.1:{server.server_port}"
        remotes = [
            fetch.Remote(f"{host}/some/{name}", name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        ]
        monkeypatch.setattr(fetch, "registered", lambda name: remotes)
        return remotes

    return offered


def idx(content, *dimensions, magic=b"\0\0\x08"):
    header = magic + bytes([len(dimensions)]) + struct.pack(f">{len(dimensions)}I", *dimensions)
    return gzip.compress(header + content, mtime=0)


def mnist():
    """Returns two images, black but for row 3, column 5 of the second, which is 200; labels 7 and 0."""
    pixels = bytearray(2 * 784)
    pixels[784 + 3 * 28 + 5] = 200
    return {IMAGES: idx(bytes(pixels), 2, 28, 28), LABELS: idx(bytes([7, 0]), 2)}


def tar(members):
    """Returns a .tar.gz of (name, content) pairs; a content that is text is the target of a link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname, content = tarfile.SYMTYPE, content, b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def record(label):
    """Returns a record with red 10·label, green 10·label + 1, blue 10·label + 2; but row 1, column 2 is red 255."""
    planes = [bytearray([10 * label + colour]) * 1024 for colour in range(3)]
    planes[0][1 * 32 + 2] = 255
    return bytes([label]) + b"".join(planes)


def batch(i, content=None):
    return f"cifar-10-batches-bin/data_batch_{i}.bin", record(i) if content is None else content


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def refused(root, name="mnist", *parts):
    """Returns the one line of the error where `name` can't be opened."""
    with pytest.raises(DataError) as caught:
        fetch.fetched(name, root)
    message = str(caught.value)
    assert "\n" not in message and "--dataset digits" in message
    for part in parts:
        assert re.search(part, message), message


def test_tfds_registers_the_files_and_needs_no_tensorflow():
    needs("tensorflow_datasets")
    code = (
        "import sys; from jaxgan.data.sources import fetch\n"
        "for name in fetch.FETCHABLE:\n"
        "    for file in fetch.registered(name): print(name, *file)\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *files, imported = done.stdout.splitlines()
    assert imported == "False"
    files = [line.split() for line in files]
    assert [line[0] for line in files] == ["mnist"] * 4 + ["fashion_mnist"] * 4 + ["cifar10"]
    test = {name.replace("train", "t10k") for name in (IMAGES, LABELS)}
    assert {line[2] for line in files} == {IMAGES, LABELS, *test, "cifar-10-binary.tar.gz"}
    assert all(line[1].startswith("http") and re.fullmatch("[0-9a-f]{64}", line[4]) for line in files)
    assert int(files[-1][3]) == 170_052_171


def test_mnist_is_fetched_once(server, offer, tmp_path):
    offer(mnist())
    assert not fetch.is_fetched("mnist", tmp_path)
    for _ in range(2):
        images, labels = fetch.fetched("mnist", tmp_path)
        assert images.shape == (2, 28, 28, 1) and images.dtype == np.uint8 and images.flags.writeable
        assert images[1, 3, 5, 0] == 200 and images.sum() == 200
        assert labels.tolist() == [7, 0] and labels.dtype == np.int32
        assert fetch.is_fetched("mnist", tmp_path)
    assert server.asked == [IMAGES, LABELS]
    assert files_in(tmp_path) == [IMAGES, LABELS]
    assert (tmp_path / "downloads" / "jaxgan" / "mnist" / IMAGES).read_bytes() == mnist()[IMAGES]


def test_cifar10_comes_in_the_order_of_its_batches(server, offer, tmp_path):
    members = [batch(3), ("cifar-10-batches-bin/readme.html", b"page"), batch(1), batch(5), batch(4)]
    members += [batch(2, record(2) + record(9)), ("cifar-10-batches-bin/test_batch.bin", record(0))]
    offer({"cifar-10-binary.tar.gz": tar(members)})
    images, labels = fetch.fetched("cifar10", tmp_path)
    assert labels.tolist() == [1, 2, 9, 3, 4, 5] and labels.dtype == np.int32
    assert images.shape == (6, 32, 32, 3) and images.dtype == np.uint8
    assert images[2, 0, 0].tolist() == [90, 91, 92] and images[2, 31, 31].tolist() == [90, 91, 92]
    assert images[2, 1, 2].tolist() == [255, 91, 92] and images[2, 2, 1].tolist() == [90, 91, 92]
    assert files_in(tmp_path) == ["cifar-10-binary.tar.gz"]


def of_test(files):
    return {name.replace("train", "t10k"): content for name, content in files.items()}


def test_of_mnist_only_the_files_of_the_split_are_fetched(server, offer, tmp_path):
    black = {IMAGES: idx(bytes(3 * 784), 3, 28, 28), LABELS: idx(bytes([4, 5, 6]), 3)}
    offer(mnist() | of_test(black))
    images, labels = fetch.fetched("mnist", tmp_path, "test")
    assert images.shape == (3, 28, 28, 1) and images.sum() == 0 and labels.tolist() == [4, 5, 6]
    assert server.asked == files_in(tmp_path) == sorted(of_test(black)) and not fetch.is_fetched("mnist", tmp_path)
    assert fetch.fetched("mnist", tmp_path)[1].tolist() == [7, 0] and fetch.is_fetched("mnist", tmp_path)
    assert fetch.fetched("mnist", tmp_path, "test")[1].tolist() == [4, 5, 6]
    assert server.asked == [*sorted(of_test(black)), IMAGES, LABELS]


def test_cifar10s_archive_holds_both_splits(server, offer, tmp_path):
    test = ("cifar-10-batches-bin/test_batch.bin", record(7) + record(0))
    offer({"cifar-10-binary.tar.gz": tar([*(batch(i) for i in range(1, 6)), test])})
    assert fetch.fetched("cifar10", tmp_path)[1].tolist() == [1, 2, 3, 4, 5]
    images, labels = fetch.fetched("cifar10", tmp_path, "test")
    assert labels.tolist() == [7, 0] and images[0, 0, 0].tolist() == [70, 71, 72] and images.shape == (2, 32, 32, 3)
    assert server.asked == ["cifar-10-binary.tar.gz"]
    offer({"cifar-10-binary.tar.gz": tar([batch(i) for i in range(1, 6)])})
    assert len(fetch.fetched("cifar10", tmp_path)[1]) == 5  # a test batch isn't asked for
    with pytest.raises(DataError, match=r"its test_batch.bin has 0 bytes"):
        fetch.fetched("cifar10", tmp_path, "test")


@pytest.mark.parametrize("name", fetch.FETCHABLE)
def test_other_splits_cannot_be_fetched(server, offer, tmp_path, name):
    offer({})
    with pytest.raises(DataError, match=f"^data set '{name}' has no validation split; it has train, test$"):
        fetch.fetched(name, tmp_path, "validation")
    assert server.asked == []


@pytest.mark.parametrize("tensorflow", [False, True])
def test_a_set_whose_training_files_are_kept_stays_with_them(server, offer, tmp_path, monkeypatch, tensorflow):
    """This also holds where TensorFlow could prepare the set, in another order."""
    monkeypatch.setattr(requirements, "has_tensorflow", lambda: tensorflow)
    offer(mnist() | of_test({IMAGES: mnist()[IMAGES], LABELS: idx(bytes([1, 2]), 2)}))
    fetch.fetched("mnist", tmp_path)
    found = {split: open_source("mnist", str(tmp_path), split=split) for split in ("train", "test")}
    assert found["train"].labels.tolist() == [7, 0] and found["test"].labels.tolist() == [1, 2]
    assert found["test"].class_names == tuple("0123456789")


def cut(handler):
    handler.send(mnist()[IMAGES][:40], length=len(mnist()[IMAGES]))


def silent(handler):
    handler.server.over.wait(600)


def stalled(handler):
    cut(handler)
    silent(handler)


def elsewhere(handler):
    handler.send(b"", Location=f"ftp://127.0.0.1:{handler.server.server_port}/{IMAGES}")


@pytest.mark.parametrize(
    "answer, message, times",
    [
        (cut, r"ended after 40 of [\d,]+ bytes", 2),
        (404, "answers 404 Not Found", 1),
        (503, "answers 503", 2),
        (silent, "no answer .*timed out", 2),
        (stalled, "connection broke after 40 bytes .*timed out", 2),
        (elsewhere, "ftp", 2),
        (mnist()[IMAGES] + b"more", "sends more than the [0-9,]+ bytes", 1),
    ],
    ids=["cut", "404", "503", "silent", "stalled", "redirected to ftp", "too long"],
)
def test_a_download_that_fails_leaves_nothing(server, offer, tmp_path, monkeypatch, answer, message, times):
    if answer in (silent, stalled):  # the others answer, however late a busy machine lets them
        monkeypatch.setattr(fetch, "ANSWER_SECONDS", 1.0)
    offer(mnist())
    server.answers[IMAGES] = answer
    refused(
        tmp_path, "mnist", message, f"{IMAGES} of mnist can't be fetched from 127.0.0.1 into {tmp_path}", "--data-dir"
    )
    assert server.asked == [IMAGES] * times and files_in(tmp_path) == [] and not fetch.is_fetched("mnist", tmp_path)


def test_a_failure_of_the_moment_is_overcome(server, offer, tmp_path):
    offer(mnist())
    server.answers[IMAGES] = lambda handler: (server.answers.update(mnist()), cut(handler))
    assert fetch.fetched("mnist", tmp_path)[1].tolist() == [7, 0]
    assert server.asked == [IMAGES, IMAGES, LABELS] and files_in(tmp_path) == [IMAGES, LABELS]


def test_another_file_is_refused_with_both_checksums(server, offer, tmp_path):
    remote = offer(mnist())[0]
    server.answers[IMAGES] = other = bytes(remote.size)
    message = f"SHA-256 {hashlib.sha256(other).hexdigest()}, expected {remote.sha256}"
    refused(tmp_path, "mnist", message, "by hand")
    assert files_in(tmp_path) == [] and server.asked == [IMAGES]


def test_a_damaged_file_is_fetched_again(server, offer, tmp_path):
    remote = offer(mnist())[0]
    fetch.fetched("mnist", tmp_path)
    path = tmp_path / "downloads" / "jaxgan" / "mnist" / IMAGES
    path.write_bytes(bytes(remote.size))
    assert fetch.is_fetched("mnist", tmp_path)  # it goes by size
    server.answers[IMAGES] = 404
    refused(tmp_path, "mnist", rf"404.*the one that lies there is another \(SHA-256 .* expected {remote.sha256}")
    assert path.read_bytes() == bytes(remote.size)  # perhaps a user's: it stays until there is a better one
    server.answers.update(mnist())
    assert fetch.fetched("mnist", tmp_path)[0].sum() == 200
    assert server.asked == [IMAGES, LABELS, IMAGES, IMAGES] and path.read_bytes() == mnist()[IMAGES]


def test_without_network_it_is_said(offer, tmp_path):
    offer(mnist(), host="https://no-such-host.invalid")
    refused(tmp_path, "mnist", "from no-such-host.invalid", "no network, or none to no-such-host.invalid")
    assert not list(tmp_path.iterdir())


def test_a_resolver_that_hangs_is_not_waited_for(server, offer, tmp_path, monkeypatch):
    offer(mnist())
    assert requirements.CONNECT_SECONDS < 10
    monkeypatch.setattr(requirements, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: server.over.wait(600) and [])
    refused(tmp_path, "mnist", r"no network.* \(no answer within 0.2 seconds\)")


def test_a_proxy_is_asked_where_there_is_one(server, offer, tmp_path, monkeypatch):
    offer(mnist(), host="http://no-such-host.invalid")
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{server.server_port}")
    assert fetch.fetched("mnist", tmp_path)[1].tolist() == [7, 0]


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_nothing_but_http_is_opened(offer, tmp_path, scheme):
    offer(mnist(), host=f"{scheme}://127.0.0.1")
    refused(tmp_path, "mnist", f"{scheme}://127.0.0.1/some/{IMAGES} is neither http nor https")


def test_only_three_sets_can_be_fetched(tmp_path):
    for call in (fetch.fetched, fetch.is_fetched):
        with pytest.raises(DataError, match=r"'svhn' can't be fetched.*only mnist, fashion_mnist, cifar10 can"):
            call("svhn", tmp_path)


def test_a_folder_that_cannot_be_used_is_named(offer, tmp_path, monkeypatch):
    offer(mnist())
    (tmp_path / "downloads").touch()
    refused(tmp_path, "mnist", f"into {tmp_path}.*folder can't be used .*(File exists|Not a directory)", "--data-dir")
    (tmp_path / "downloads").unlink()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    refused(tmp_path, "mnist", f"into {tmp_path}.*folder can't be used .*No space left", "--data-dir")
    assert files_in(tmp_path) == []


def test_what_killed_downloads_left_is_removed(offer, tmp_path):
    offer(mnist())
    folder = tmp_path / "downloads" / "jaxgan" / "mnist"
    folder.mkdir(parents=True)
    old, living, link = (folder / f"{IMAGES}.{digit * 16}.tmp" for digit in "012")
    for path, age in ((old, 7200), (living, 0)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    link.symlink_to(tmp_path / "nowhere")  # which is looked at, not followed
    fetch.fetched("mnist", tmp_path)
    assert files_in(folder) == [IMAGES, living.name, LABELS]
    assert link.is_symlink()


def test_large_files_show_their_progress_on_stderr(offer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "BAR_FROM_BYTES", len(mnist()[IMAGES]))
    offer(mnist())
    fetch.fetched("mnist", tmp_path)
    out, err = capsys.readouterr()
    assert out == "" and IMAGES in err and "100%" in err and "B/s" in err and LABELS not in err


@pytest.mark.parametrize(
    "member, message",
    [
        (("../evil", b"x"), r"refused: its member '../evil' points out"),
        (("a/../../evil", b"x"), "points out"),
        (("/evil", b"x"), "points out"),
        (batch(1, "/etc/passwd"), "refused: its member .*data_batch_1.bin' is no file"),
        (("large", bytes(4 * 3073)), "refused: its member 'large' is no file of at most 9,219 bytes"),
        (batch(1, record(1)[:-1]), r"data_batch_1.bin has 3072 bytes, expected records of 3073"),
        (batch(1, b""), "data_batch_1.bin has 0 bytes"),
        (batch(1, bytes([10]) + bytes(3072)), "5 images have 5 labels, up to 10"),
        (("bomb", bytes(2_000_000)), r"refused: it unpacks to more than 1,055,314 bytes"),
    ],
    ids=["parent", "inner parent", "absolute", "link", "large", "half a record", "empty", "label", "bomb"],
)
def test_an_archive_that_is_not_cifar10_is_refused(offer, tmp_path, monkeypatch, member, message):
    monkeypatch.setattr(fetch, "BATCH_BYTES", 3 * 3073)
    offer({"cifar-10-binary.tar.gz": tar([*(batch(i) for i in range(1, 6)), member])})
    refused(tmp_path, "cifar10", r"cifar-10-binary.tar.gz can't be read \(", message)
    assert files_in(tmp_path) == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize(
    "name, content, message",
    [
        (IMAGES, b"page", "Not a gzipped file"),
        (IMAGES, mnist()[IMAGES][:-9], "end-of-stream"),
        (IMAGES, gzip.compress(b"\0\0\x08\x03", mtime=0), "it begins with"),
        (IMAGES, idx(bytes(2 * 784), 2, 28, 28, magic=b"\0\0\x0d"), r"begins with \(0, 0, 13, 3\)"),
        (IMAGES, idx(bytes(2 * 784), 2, 56, 14), "1,568 bytes are not the .2, 56, 14."),
        (IMAGES, idx(bytes(2 * 784 - 1), 2, 28, 28), "1,567 bytes are not"),
        (IMAGES, idx(bytes(9 * 784), 9, 28, 28), "refused: it unpacks to more than 6,288 bytes"),
        (LABELS, idx(bytes([7, 10]), 2), "2 images have 2 labels, up to 10"),
        (LABELS, idx(bytes(3), 3), "2 images have 3 labels"),
    ],
    ids=["no gzip", "cut", "short", "kind", "shape", "length", "bomb", "label", "labels"],
)
def test_a_file_that_is_not_mnist_is_named(offer, tmp_path, monkeypatch, name, content, message):
    monkeypatch.setattr(fetch, "MOST_IMAGES", 8)
    offer(mnist() | {name: content})
    refused(tmp_path, "mnist", rf"{tmp_path}.*{name} can't be read \(.*{message}")


def test_a_bomb_does_not_fill_the_memory(offer, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MOST_IMAGES", 8)
    offer(mnist() | {IMAGES: idx(bytes(50_000_000), 8, 28, 28)})
    tracemalloc.start()
    try:
        refused(tmp_path, "mnist", "refused: it unpacks to more than 6,288 bytes")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_killed_download_leaves_nothing_that_looks_finished(server, offer, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, 100 * 784, np.uint8).tobytes()
    files = {IMAGES: idx(pixels, 100, 28, 28), LABELS: idx(bytes(100), 100)}
    remotes = offer(files)

    def half(handler):
        handler.send(files[IMAGES][:40_000], length=len(files[IMAGES]))
        server.over.wait(600)

    server.answers[IMAGES] = half
    code = (
        "import json, pathlib, sys; from jaxgan.data.sources import fetch\n"
        "fetch.registered = lambda name: [fetch.Remote(*file) for file in json.loads(sys.argv[1])]\n"
        "fetch.fetched('mnist', pathlib.Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, json.dumps(remotes), str(tmp_path)], cwd=ROOT)
    until = time.monotonic() + 600
    while not any(part.stat().st_size for part in tmp_path.rglob("*.tmp")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert [name.endswith(".tmp") for name in files_in(tmp_path)] == [True] and not fetch.is_fetched("mnist", tmp_path)
    server.answers.update(files)
    assert fetch.fetched("mnist", tmp_path)[0].tobytes() == pixels


def test_preparing_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(requirements, "has_tensorflow", lambda: False)
    with pytest.raises(DataError, match=r"'svhn_cropped' needs TensorFlow: pip install 'jaxgan\[tfds-prepare\]'"):
        requirements.prepare_with_tensorflow("svhn_cropped", tmp_path)
    needs("tensorflow_datasets")
    monkeypatch.setattr(requirements, "has_tensorflow", lambda: True)
    with pytest.raises(DataError, match="knows no data set 'no_such_set'"):
        requirements.prepare_with_tensorflow("no_such_set", tmp_path)
    monkeypatch.setattr(requirements, "unreachable", lambda address: "no\nnetwork")
    with pytest.raises(DataError, match=r"'mnist' can't be prepared in .*: no network; .*--data-dir.*digits"):
        requirements.prepare_with_tensorflow("mnist", tmp_path)
    assert not list(tmp_path.iterdir())
