"""Files that are written whole or not at all and follow no link; text that a terminal may show."""

import os
import pathlib
import re

import pytest

from jaxgan.files import (
    atomic_write,
    is_private,
    make_private,
    open_regular,
    own_files,
    read_at_most,
    remove_leftovers,
)
from jaxgan.printable import listed, printable, shortened


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_stays(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.json").symlink_to(victim)
    with atomic_write(tmp_path / "a.json") as temporary:
        temporary.write_text("new")
    assert victim.read_text() == "precious" and not (tmp_path / "a.json").is_symlink()
    assert (tmp_path / "a.json").read_text() == "new" and len(list(tmp_path.iterdir())) == 2


def test_the_temporary_name_is_another_each_time_and_gone_after_a_failure(tmp_path):
    seen = set()
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a") as temporary:  # noqa: PT012
            seen.add(temporary.name)
            raise KeyboardInterrupt
    assert len(seen) == 3 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/null"), os.mkfifo, os.mkdir])
def test_only_a_regular_file_is_opened_and_a_pipe_is_not_waited_for(tmp_path, make):
    make(tmp_path / "a")
    with pytest.raises(OSError, match=str(tmp_path)):
        os.close(open_regular(tmp_path / "a", os.O_RDONLY))


def test_a_folder_that_others_can_write_to_or_own_is_not_private(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    assert is_private(folder)
    folder.chmod(0o777)
    assert not is_private(folder)
    folder.chmod(0o700)
    (tmp_path / "link").symlink_to(folder)
    assert not is_private(tmp_path / "link")


def test_folders_that_are_missing_are_made_for_their_user_alone(tmp_path):
    """Those that are there stay as they are."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    make_private(tmp_path / "a" / "b" / "c")
    make_private(tmp_path / "a" / "b" / "c")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/c")]
    assert modes == [0o755, 0o700, 0o700]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_private(tmp_path / "file" / "d")


def test_what_a_killed_writer_left_goes_when_it_is_old(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a") as temporary:  # noqa: PT012
        name = temporary.name
        raise KeyboardInterrupt
    for each in (name, f"x{name}", "a.tmp", "a.0123456789abcdef.tmp.txt"):
        (tmp_path / each).touch()
    for each in (name, "a.tmp", "a.0123456789abcdef.tmp.txt"):
        os.utime(tmp_path / each, (1e9, 1e9))
    (tmp_path / "b.0123456789abcdef.tmp").symlink_to(tmp_path / "a.tmp")
    (tmp_path / "c.0123456789abcdef.tmp").mkdir()
    before = set(tmp_path.iterdir())
    remove_leftovers(tmp_path)
    assert before - set(tmp_path.iterdir()) == {tmp_path / name}


def test_only_this_users_own_regular_files_are_listed(tmp_path):
    for name in ("a.x", "b.x", "a.y"):
        (tmp_path / name).touch()
    (tmp_path / "link.x").symlink_to("a.x")
    os.mkfifo(tmp_path / "pipe.x")
    (tmp_path / "folder.x").mkdir()
    expected = {"a.x", "b.x"}
    if os.geteuid() == 0:
        os.chown(tmp_path / "b.x", 65534, 65534)
        expected = {"a.x"}
    assert {path.name for path, _ in own_files(tmp_path, re.compile(r".+\.x"))} == expected


@pytest.mark.parametrize(
    "text, shown",
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\r\nb", r"a\r\nb"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
        ("\udcff\ud800\u202e\x9b", r"\xff\ud800\u202e\x9b"),
    ],
)
def test_control_characters_are_written_out_and_letters_are_not(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    "value, shown",
    [
        *(
            ("a" * 100, "a" * 100),
            ("a" * 101, "a" * 100 + "..."),
            ("\x1b[2J", "\\x1b[2J"),
            (2.5, "2.5"),
            (True, "true"),
            (None, "none"),
        ),
        *((2**64 - 1, "18446744073709551615"), (2**64, "one of more bits"), ([1, "a"], "1,a"), ((), "")),
        *(([[1]], "a list of lists or tables"), ({"a": 1}, "a table"), ([None] * 999, ("none," * 999)[:100] + "...")),
    ],
)
def test_a_value_is_shown_in_a_line_that_is_not_too_long(value, shown):
    assert shortened(value) == shown


def test_no_more_is_read_than_was_asked_for(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    (tmp_path / "link").symlink_to(path)
    assert read_at_most(path, 4) == read_at_most(tmp_path / "link", 5) == b"1234"
    with pytest.raises(OSError, match="it has more than 3 bytes"):
        read_at_most(path, 3)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe", pathlib.Path("/dev/zero")):
        with pytest.raises(OSError, match="it is no regular file"):
            read_at_most(other, 4)


def test_names_that_are_too_many_are_counted():
    assert [listed(names, 2) for names in ("", "a", "ab", "abcd")] == ["", "a", "a, b", "a, b and 2 more"]
