"""Tables fit a terminal and lose nothing; sizes and times read well."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.display import Cell, Column, Screen, Size, Time, ago, fold, iso, lay_out, when
from lineart.lineage.columns import width

COLUMNS = (Column("NAME", fold=True), Column("SIZE", right=True), Column("ALIASES", fold=True))
DAY = 86_400_000_000


def screen(encoding="utf-8", **how):
    return Screen(io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline=""), io.StringIO(), 0, **how)


def said(one):
    one.out.flush()
    return one.out.buffer.getvalue().decode(one.out.encoding)


@given(st.text(alphabet="abc ,/é語", max_size=60), st.integers(2, 30))
def test_folding_keeps_every_character_but_spaces_at_the_breaks(text, room):
    lines = fold(text, room)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width(line) <= room for line in lines)


@given(st.lists(st.text(alphabet="abc-", min_size=1, max_size=50), min_size=1, max_size=4), st.integers(30, 100))
def test_a_table_is_never_wider_than_the_terminal(names, room):
    rows = [(name, "1.0 GiB", name) for name in names]
    assert all(width(line) <= room for _, line in lay_out(COLUMNS, rows, room))


def test_columns_that_may_be_folded_and_are_empty_are_left_out():
    assert [line for _, line in lay_out(COLUMNS, [("a", "1 B", "")], 80)] == ["NAME  SIZE", "a      1 B"]


def test_wide_characters_keep_the_columns_aligned():
    lines = [line for _, line in lay_out(COLUMNS, [("語", "1 B", "x"), ("ab", "2 B", "y")], 80)]
    assert lines[1:] == ["語     1 B  x", "ab     2 B  y"]


def test_a_pipe_gets_the_plain_values_and_no_heading():
    pipe = screen()
    pipe.table(COLUMNS, [("a\tb", Cell("1.0 KiB", "1024"), "x→y")])
    pipe.remark("1 row")
    assert said(pipe) == "a\\x09b\t1024\tx→y\n"


def test_sizes_and_times_are_in_full_in_a_pipe_and_short_on_a_terminal():
    row = [(Size(2048), Time(1_500_000, 3_600_000_000), Time(None, 0))]
    pipe, terminal = screen(), screen(terminal=True)
    pipe.table(COLUMNS, row)
    terminal.table(COLUMNS, row)
    assert said(pipe) == "2048\t1970-01-01T00:00:01.500000Z\t\n"
    assert said(terminal).splitlines()[1].split("  ") == ["2.0 KiB", "59m ago"]


@pytest.mark.parametrize("bad", ["\x1b[2J", "\n", "\t", "\u202e", "\ud800"])
def test_one_value_that_a_terminal_would_act_on_is_escaped_and_leaves_the_others_of_its_row_alone(bad):
    pipe = screen()
    pipe.tabbed(["a é", bad, "语"])
    first, second, third = said(pipe).removesuffix("\n").split("\t")
    assert (first, third) == ("a é", "语")
    assert second.startswith("\\")
    assert second.isprintable()


def test_what_ascii_cannot_show_is_spelled():
    pipe = screen("ascii")
    pipe.line("a → b · é…")
    assert said(pipe) == "a -> b - \\xe9...\n"


def test_a_table_of_any_length_has_one_heading():
    terminal = screen(terminal=True)
    terminal.table(COLUMNS, ((str(i), "1 B", "x") for i in range(1200)))
    lines = said(terminal).splitlines()
    assert len(lines) == 1201
    assert sum("NAME" in line for line in lines) == 1


def test_colour_is_for_terminals_that_want_it():
    for how, expected in (
        ({"terminal": True, "colour": True}, True),
        ({"terminal": True}, False),
        ({"colour": True}, False),
    ):
        one = screen(**how)
        one.heading("x")
        assert ("\x1b[1m" in said(one)) is expected


def test_times_are_relative_until_they_are_old():
    now = 1_000 * DAY
    spans = {0: "now", 5_000_000: "5s ago", 90_000_000: "1m ago", DAY // 12: "2h ago", 3 * DAY: "3d ago"}
    assert {span: ago(now - span, now) for span in spans} == spans
    assert ago(0, now) == "1970-01-01"
    assert ago(now + DAY, now) == "1972-09-28"


def test_times_are_printed_in_utc():
    assert iso(1_500_000) == "1970-01-01T00:00:01.500000Z"
    assert when(0) == "1970-01-01 00:00 UTC"
    assert iso(None) is None


def test_a_document_of_any_length_is_one_json_value():
    import json

    for items in ([], [{"a": 1}], [{"a": 1}, {"a": "\x1b"}]):
        one = screen()
        one.document({"ref": "x"}, "files", iter(items))
        assert json.loads(said(one)) == {"schema": 1, "ref": "x", "files": items}
