"""What a deletion took from a version, on every database."""

from __future__ import annotations

from lineart.artifacts.tombstones import aliases_taken, delete_versions, restore_version
from lineart.lineage.edges import dependants


def delete(world, *versions, reason=None):
    return delete_versions(world.catalog, versions, force=True, reason=reason, needed=dependants)


def test_the_aliases_that_a_deletion_took_are_told_with_what_they_mean_now(worlds):
    old = worlds.log("model", "1", aliases=("best", "Production"))
    new = worlds.log("model", "2")
    delete(worlds, old, reason="wrong labels")
    worlds.catalog.set_alias(new, "production", reason=None, expect=None)
    restore_version(worlds.catalog, old, reason=None)
    assert aliases_taken(worlds.catalog, old) == {"Production": "v1", "best": None}
    assert aliases_taken(worlds.catalog, new) == {}


def test_versions_that_went_together_had_their_own(worlds):
    pair = [worlds.log("model", str(number), aliases=(f"a{number}", f"b{number}")) for number in range(2)]
    delete(worlds, *pair)
    assert [list(aliases_taken(worlds.catalog, one)) for one in pair] == [["a0", "b0"], ["a1", "b1"]]


def test_version_1_is_not_taken_for_version_10(worlds):
    versions = [worlds.log("model", str(number)) for number in range(11)]
    worlds.catalog.set_alias(versions[10], "best", reason=None, expect=None)
    delete(worlds, versions[10])
    assert aliases_taken(worlds.catalog, versions[1]) == {}
    assert aliases_taken(worlds.catalog, versions[10]) == {"best": None}
