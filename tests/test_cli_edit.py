"""`art edit`: words of a version that is there, what it prints, and how it ends."""

import json

import pytest

import lineart

HOSTILE = '"quoted" <script>\n\x1b[2J\u202e' + "x" * 10_000


@pytest.fixture
def art(art_here, tmp_path):
    """A store in which model:v0 has every kind of word, and model:v1 none."""
    with lineart.create(tmp_path / "store", project="p") as store:
        draft = lineart.Artifact("model", description="old", metadata={"lr": 0.1, "data": {"rows": 9}, "seed": 1})
        draft.add_bytes(b"0", "w")
        store.log(draft, tags=["draft"])
        draft = lineart.Artifact("model")
        draft.add_bytes(b"1", "w")
        store.log(draft)
    return art_here


def words(art, ref="p/model:v0"):
    found = json.loads(art("show", ref, "--json")[1])
    return found["description"], found["metadata"], found["tags"]


def test_what_is_given_is_changed_and_all_else_stays(art):
    changes = ["--description", "new", "--metadata", "lr=0.2", "--metadata", "loss=1", "--remove-metadata", "seed"]
    code, out, err = art("edit", "p/model:v0", *changes, "--tag", "checked", "--untag", "draft")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "p/model:v0\tedited",
        'description\tdescription\t"old"\t"new"',
        "metadata\tloss\t\t1",
        "metadata\tlr\t0.1\t0.2",
        "metadata\tseed\t1\t",
        'tag\ttag\t\t"checked"',
        'tag\ttag\t"draft"\t',
    ]
    assert words(art) == ("new", {"lr": 0.2, "data": {"rows": 9}, "loss": 1}, ["checked"])
    assert words(art, "p/model:v1") == (None, {}, [])
    assert "v0 edited: description, metadata, tags" in art("history", "p/model:v0")[1]


def test_people_see_before_and_after(art):
    code, out, _ = art("edit", "p/model:v0", "--description", "new", "--metadata", "n=7", "--tag", "t", terminal=True)
    assert code == 0
    assert out.splitlines() == ["p/model:v0  edited", "description old → new", "metadata n 7 added", "tag t added"]


def test_the_document_has_the_changes_and_the_version(art):
    found = json.loads(art("edit", "p/model:v0", "--metadata", 'data={"rows": 10}', "--untag", "DRAFT", "--json")[1])
    assert (found["schema"], found["description"]) == (1, None)
    assert found["metadata"] == [{"key": "data.rows", "old": 9, "new": 10}]
    assert found["tags"] == {"given": [], "taken": ["draft"]}
    assert found["version"]["metadata"]["data"] == {"rows": 10}


def test_what_is_so_already_is_no_change(art):
    for _ in range(2):
        code, out, err = art("edit", "p/model:v0", "--description", "old", "--metadata", "lr=0.1", "--tag", "draft")
        assert (code, out, err) == (0, "p/model:v0\tunchanged\n", "")
    assert "edited: description" not in art("history", "p/model")[1]


def test_an_empty_description_takes_it_away(art):
    assert art("edit", "p/model:v0", "--description", "")[0] == 0
    assert words(art)[0] is None


def test_what_a_name_cannot_be_mistaken_for_is_told(art):
    for arguments, code, said in [
        ([], 2, "say what is to change: --description"),
        (["--remove-metadata", "nowhere"], 3, "p/model:v0 has no metadata 'nowhere'; it has data, lr, seed"),
        (["--untag", "nowhere"], 3, "p/model:v0 has no tag 'nowhere'; it has draft"),
        (["--metadata", "lr=1", "--remove-metadata", "lr"], 2, "metadata 'lr' is to be set and to be removed"),
        (["--tag", "a", "--untag", "A"], 2, "the tag 'A' is to be given and to be taken away"),
        (["--metadata", "lr"], 2, "metadata is KEY=VALUE"),
        (["--tag", "a\nb"], 2, "tag"),
    ]:
        found, out, err = art("edit", "p/model:v0", *arguments)
        assert (found, out) == (code, ""), arguments
        assert said in err
    assert art("edit", "p/model:v9", "--tag", "a")[0] == 3
    code, _, err = art("edit", "p/model:v0/w", "--tag", "a")
    assert (code, "the whole version" in err) == (2, True)
    assert words(art) == ("old", {"lr": 0.1, "data": {"rows": 9}, "seed": 1}, ["draft"])


def test_hostile_words_are_kept_as_they_are_and_shown_escaped(art):
    for terminal in (False, True):
        code, out, _ = art(
            "edit", "p/model:v1", "--description", f"{HOSTILE}{terminal}", "--metadata", f"{HOSTILE}={HOSTILE}",
            terminal=terminal,
        )  # fmt: skip
        assert code == 0
        assert not {"\x1b", "\u202e"} & set(out)
    assert words(art, "p/model:v1") == (f"{HOSTILE}True", {HOSTILE: HOSTILE}, [])


def test_who_logs_content_that_exists_with_other_words_is_told_how_to_change_them(art, tmp_path):
    (tmp_path / "w").write_bytes(b"1")
    for about in (None, "told"):
        code, _, err = art("log", "w", "p/model", "--type", "artifact", "--description", "new", "--metadata", "n=1")
        assert code == 0
        which = "without a description, and stays so" if about is None else "with another description, which stays"
        assert f"p/model:v1 existed already {which}; `art edit p/model:v1 --description TEXT` changes that" in err
        which = "without metadata, and stays so" if about is None else "with other metadata, which stays"
        assert f"p/model:v1 existed already {which}; `art edit p/model:v1 --metadata KEY=VALUE` changes that" in err
        art("edit", "p/model:v1", "--description", "told", "--metadata", "m=1")


def test_who_logs_deleted_content_again_is_told_why_it_was_deleted(art, tmp_path):
    (tmp_path / "w").write_bytes(b"1")
    assert art("rm", "p/model:v1", "--yes", "--reason", "bad labels")[0] == 0
    assert ': "bad labels"' in art("show", "p/model:v1")[1]
    assert json.loads(art("show", "p/model:v1", "--json")[1])["ending"][0]["reason"] == "bad labels"
    code, out, err = art("log", "w", "p/model", "--type", "artifact")
    assert (code, out.split("\t")[0]) == (0, "p/model:v2")
    assert "art: p/model:v2 has the content of v1, which was deleted (" in err
    assert 'UTC: "bad labels")' in err


@pytest.mark.parametrize(
    ("alias", "near"),
    [("prodction", ["production"]), ("Productions", ["production"]), ("best", []), ("lates", []), ("epoch-9", [])],
)
def test_a_new_alias_that_may_be_a_slip_of_the_keyboard_is_said_and_made(art, alias, near):
    for one in ("production", "staging", "epoch-8"):
        assert art("promote", "p/model:v0", one)[::2] == (0, "")
    code, out, err = art("promote", "p/model:v1", alias)
    assert (code, out) == (0, f"p/model\t{alias}\tnone\tv1\n")
    hint = f"art: {alias} is a new alias of p/model, which has production -> v0, too; "
    assert err == (f"{hint}`art alias rm p/model:{alias}` takes it away\n" if near else "")
    assert art("promote", "p/model:v0", alias)[::2] == (0, ""), "it is there by now"
