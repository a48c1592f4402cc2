"""What `art` says of entries that are elsewhere, and of the places they are at."""

import json

import pytest


@pytest.fixture
def corpus(art_here, tmp_path):
    """A folder that stands for a bucket, and its URL."""
    (tmp_path / "bucket/web/en").mkdir(parents=True)
    (tmp_path / "bucket/web/en/1.txt").write_bytes(b"one\n")
    (tmp_path / "bucket/web/list.txt").write_bytes(b"all\n")
    return f"file://{tmp_path}/bucket/web/"


def test_a_url_is_logged_as_a_reference(art_here, corpus):
    code, out, _ = art_here("log", corpus, "corpus", terminal=True)
    assert code == 0
    assert out.startswith("default/corpus:v0  2 files, 8 B, 2 external; ")
    assert art_here("log", corpus, "corpus")[1].split("\t")[-1] == "unchanged\n"
    _, out, _ = art_here("log", f"{corpus}list.txt", "list")
    assert art_here("files", "-r", "list")[1] == f"list.txt\t4\t{corpus}list.txt\n"


def test_without_a_checksum_nothing_has_to_be_there(art_here):
    assert art_here("log", "--no-checksum", "s3://nowhere/x.bin", "far")[0] == 0
    assert art_here("files", "-r", "far")[1] == "x.bin\t0\ts3://nowhere/x.bin\n"
    code, _, err = art_here("get", "far")
    assert code == 6 or "s3://nowhere/x.bin" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["log", "file:///no/such/thing", "x"], 3, "does not exist"),
        (["log", "https://ana:hunter2@host/x", "x"], 2, "password"),
        (["log", "--no-checksum", "some/path", "x"], 2, "goes with a URL"),
        (["log", "--no-checksum", "s3://bucket/folder/", "x"], 2, "listed"),
        (["log", "--ignore", "*.tmp", "file:///tmp/", "x"], 2, "--ignore"),
        (["log", "nosuch://a/b", "x"], 2, "nosuch"),
    ],
)
def test_what_cannot_be_referred_to_says_why(art_here, arguments, code, said):
    found, _, err = art_here(*arguments)
    assert (found, said in err) == (code, True), err
    assert "hunter2" not in err


def test_listings_mark_what_is_elsewhere(art_here, corpus):
    art_here("log", corpus, "corpus")
    _, out, _ = art_here("files", "corpus", terminal=True)
    assert "external" in out
    assert "2 files, 8 B; 2 external, 8 B elsewhere" in out
    entry = json.loads(art_here("files", "-r", "--json", "corpus")[1])["files"][0]
    assert (entry["kind"], entry["url"], entry["etag"]) == ("external", f"{corpus}en/1.txt", None)


def test_show_names_the_places(art_here, corpus):
    art_here("log", corpus, "corpus")
    _, out, _ = art_here("show", "corpus")
    assert f"refers to\t{corpus} (2 objects)\n" in out
    shown = json.loads(art_here("show", "--json", "corpus")[1])
    assert shown["references"] == [{"url": corpus, "objects": 2, "size": 8}]


def test_bytes_come_from_where_they_are(art_here, corpus, tmp_path):
    art_here("log", corpus, "corpus")
    assert art_here("cat", "corpus:v0/en/1.txt")[:2] == (0, "one\n")
    assert art_here("get", "corpus", "here")[0] == 0
    assert (tmp_path / "here/en/1.txt").read_bytes() == b"one\n"
    assert art_here("status", "--exit-code", "here")[0] == 0
    (tmp_path / "bucket/web/en/1.txt").write_bytes(b"two\n")
    code, _, err = art_here("get", "corpus", "there")
    assert (code, "its content is not what it was" in err) == (5, True)
    assert not (tmp_path / "there").exists()


def test_a_check_says_what_it_did_not_look_at_and_looks_when_it_is_asked_to(art_here, corpus, tmp_path):
    art_here("log", corpus, "corpus")
    art_here("log", "--no-checksum", "nosuch://a/b", "odd")
    code, out, _ = art_here("check")
    assert code == 0
    assert "3 external entries are elsewhere; `art check --external` looks there" in out
    code, out, _ = art_here("check", "--external", "--json")
    report = json.loads(out)
    assert (code, report["external"], report["problems"]) == (0, 3, [])
    assert "1 entry of nosuch://a could not be looked at" in report["notes"][0]
    (tmp_path / "bucket/web/en/1.txt").unlink()
    code, out, _ = art_here("check", "--external")
    assert code == 5
    assert f"problem\tdefault/corpus:v0/en/1.txt\t{corpus}en/1.txt is not what was logged" in out
    assert "it is gone" in out


def test_lineage_ends_at_the_place_and_is_asked_for_by_it(art_here, corpus):
    art_here("log", corpus, "corpus")
    _, out, _ = art_here("lineage", "corpus")
    assert f"{corpus}  8 B  raw, external, 2 objects" in out
    assert "2 nodes: 1 version, 0 runs, 1 external" in out
    assert "corpus:v0" in art_here("lineage", f'external="{corpus}"')[1]
    nodes = json.loads(art_here("lineage", "corpus", "--json")[1])["nodes"]
    assert {"node": corpus, "kind": "external", "url": corpus, "objects": 2, "size": 8} in nodes
