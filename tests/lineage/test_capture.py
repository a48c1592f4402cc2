"""Capture of code and environment: complete where it can be, silent where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from lineart.lineage.capture import (
    CHUNK_LIMIT,
    NOTHING,
    Capture,
    Captured,
    Collected,
    chunks_named,
    collect,
    describe,
    list_packages,
    observe,
)
from lineart.lineage.git import GitState, read_git
from lineart.lineage.masking import mask_arguments
from lineart.storage.digest import Digest


@pytest.fixture
def git(tmp_path):
    folder = tmp_path / "work tree"
    folder.mkdir()
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }

    def run(*arguments):
        done = subprocess.run(["git", "-C", folder, *arguments], env=clean, capture_output=True, check=True)
        return done.stdout.decode().strip()

    run("init", "-q", "-b", "trunk")
    run.folder = folder
    return run


def commit(git, text="one\n"):
    (git.folder / "train.py").write_text(text)
    git("add", "train.py")
    git("commit", "-q", "-m", "m")
    return git("rev-parse", "HEAD")


def test_a_clean_commit_is_known_by_commit_branch_and_remote_without_credentials(git):
    made = commit(git)
    git("remote", "add", "other", "https://example.org/other")
    git("remote", "add", "origin", "https://ana:pw@example.org/r.git")
    state = read_git(git.folder)
    assert state == GitState(str(git.folder), made, "trunk", "https://ana:***@example.org/r.git")


def test_what_is_not_committed_is_a_patch_that_applies(git):
    commit(git)
    (git.folder / "train.py").write_text("two\n")
    (git.folder / "bin").write_bytes(bytes(range(256)))
    git("add", "bin")
    (git.folder / "untracked").write_text("x")
    (git.folder / "sub").mkdir()
    state = read_git(git.folder / "sub")
    assert state.dirty
    assert not state.diff_cut
    assert state.untracked == ("untracked",)
    assert describe(NOTHING, Collected(state, b"")).code["git"]["untracked"] == ["untracked"]
    git("reset", "-q", "--hard")
    (git.folder / "p").write_bytes(state.diff)
    git("apply", "p")
    assert (git.folder / "train.py").read_text() == "two\n"
    assert (git.folder / "bin").read_bytes() == bytes(range(256))


def test_a_long_diff_is_cut_and_says_so(git):
    commit(git)
    (git.folder / "train.py").write_text("x" * 100_000)
    state = read_git(git.folder, limit=1000)
    assert len(state.diff) == 1000
    assert state.diff_cut
    assert describe(NOTHING, Collected(state, b"")).code["diff_cut"] == 1000


def test_of_untracked_files_the_first_hundred_names_are_kept_and_what_is_ignored_is_none_of_them(git):
    commit(git)
    (git.folder / ".gitignore").write_text("*.bin\n")
    (git.folder / "x.bin").write_bytes(b"x")
    (git.folder / "odd\nname").write_text("x")
    (git.folder / "data").mkdir()
    for number in range(150):
        (git.folder / "data" / f"{number}").write_text("x")
        (git.folder / f"file{number:03}").write_text("x")
    found = read_git(git.folder).untracked
    assert len(found) == 100
    assert found[:4] == (".gitignore", "data/", "file000", "file001")


def test_a_repository_without_commits_has_a_branch_and_what_is_staged(git):
    (git.folder / "a").write_text("x\n")
    git("add", "a")
    state = read_git(git.folder)
    assert (state.commit, state.branch, state.dirty) == (None, "trunk", True)
    assert b"+x" in state.diff


def test_a_detached_head_has_no_branch(git):
    made = commit(git)
    git("checkout", "-q", "--detach")
    state = read_git(git.folder)
    assert (state.commit, state.branch) == (made, None)


def test_a_bare_folder_and_an_absent_git_give_nothing(tmp_path):
    assert read_git(tmp_path) is None
    assert read_git(tmp_path, program="no-such-git") is None
    assert read_git(tmp_path / "gone") is None


def test_a_git_that_fails_half_way_leaves_a_note(tmp_path):
    fake = tmp_path / "git"
    fake.write_text('#!/bin/sh\ncase "$*" in *show-toplevel*) echo /root/of/it;; *) exit 128;; esac\n')
    fake.chmod(0o755)
    assert read_git(tmp_path, program=str(fake)) == GitState("/root/of/it", note="git status failed")


def test_the_index_is_not_touched(git):
    commit(git)
    (git.folder / "train.py").touch()
    before = (git.folder / ".git" / "index").stat().st_mtime_ns
    read_git(git.folder)
    assert (git.folder / ".git" / "index").stat().st_mtime_ns == before


def test_the_process_is_observed_at_once():
    seen = observe()
    assert seen.code["command"] == mask_arguments(sys.orig_argv)
    assert seen.environment["pid"] == os.getpid()
    assert json.loads(json.dumps([seen.code, seen.environment])) == [seen.code, seen.environment]


def test_packages_are_listed_with_versions_in_order():
    lines = list_packages().decode().splitlines()
    assert any(line.startswith("pytest==") for line in lines)
    assert lines == sorted(lines, key=str.casefold)


def test_everything_comes_together(git):
    commit(git)
    (git.folder / "train.py").write_text("two\n")
    captured = describe(observe(), collect(git.folder))
    assert captured.code["git"]["branch"] == "trunk"
    assert captured.code["git"]["dirty"]
    chunks = captured.chunks()
    assert chunks == [captured.texts["code.diff"], captured.texts["environment.packages"]]
    digests = [bytes(Digest.of(chunk)) for chunk in chunks]
    code, environment = captured.place(digests)
    assert code["diff"] == [str(Digest.of(chunks[0]))]
    assert chunks_named(code, environment) == digests
    assert "diff" not in captured.code


def test_a_long_text_is_stored_in_chunks_of_the_formats_size():
    captured = Captured({}, {}, {"code.diff": bytes(2 * CHUNK_LIMIT + 1)})
    chunks = captured.chunks()
    assert [len(chunk) for chunk in chunks] == [CHUNK_LIMIT, CHUNK_LIMIT, 1]
    code, environment = captured.place([bytes(Digest.of(chunk)) for chunk in chunks])
    assert len(code["diff"]) == 3
    assert environment == {}


def test_the_slow_part_runs_in_the_background(tmp_path):
    gate = threading.Event()

    def slow(directory):
        assert gate.wait(10)
        return Collected(None, b"a==1\n")

    capture = Capture(slow=slow, directory=tmp_path)
    assert not capture.ready
    gate.set()
    assert capture.result().texts == {"environment.packages": b"a==1\n"}
    assert capture.ready


def test_a_failure_becomes_a_note(tmp_path):
    def slow(directory):
        raise ZeroDivisionError("odd")

    def odd():
        raise ZeroDivisionError("odder")

    assert Capture(slow=slow, directory=tmp_path).result().code["note"] == "ZeroDivisionError: odd"
    assert Capture(seen=odd).result().code == {"note": "ZeroDivisionError: odder"}


def test_patience_ends(tmp_path):
    gate = threading.Event()

    def slow(directory):
        gate.wait(10)
        return Collected(None, b"")

    capture = Capture(slow=slow, directory=tmp_path, patience=0.01)
    assert capture.result().code["note"] == "not known after 0.01 s"
    gate.set()


def test_capture_can_be_turned_off():
    assert Capture.none().result() == NOTHING
    assert Capture.none().ready
