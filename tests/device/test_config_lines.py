"""The line of every key: the scanner against tomllib, and against documents whose lines are known as they are made."""

import tomllib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from device.config.field import quoted
from device.config.lines import find, leaves, lines_of

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

NASTY = '''# [not.a.table] = 1
top = "a # b"  # comment ] }
"quoted key" . 'with "dots". in' = 1
multi = """
[fake]
key = 1 \\""" "quotes" ""\\
  end"""""
literal = \'\'\'
# no = "comment"
\'\'\'\'\'
array = [ # first
  1, "]", [2,
    { deep = [3, 4], "}" = "}" } , ], # }
]
when = 1979-05-27 07:32:00Z

[ "a]b" . c ]
x.y.z = 1
x.y.w = 2
[[points]]
name = '\\'
[[points]]
  [points.sub]
  k = 0x1F
  [[points.sub2]]
  [[points.sub2]]
  z = -inf'''


def test_a_document_with_every_trap() -> None:
    lines = lines_of(NASTY)
    assert set(lines) == set(leaves(tomllib.loads(NASTY)))
    expected = {
        ("top",): 2,
        ("quoted key", 'with "dots". in'): 3,
        ("multi",): 4,
        ("literal",): 8,
        ("array",): 11,
        ("array", 0): 12,
        ("array", 2): 12,
        ("array", 2, 1, "deep", 1): 13,
        ("array", 2, 1, "}"): 13,
        ("when",): 15,
        ("a]b",): 17,
        ("a]b", "c", "x", "y"): 18,
        ("a]b", "c", "x", "y", "w"): 19,
        ("points",): 20,
        ("points", 0, "name"): 21,
        ("points", 1): 22,
        ("points", 1, "sub", "k"): 24,
        ("points", 1, "sub2", 1): 26,
        ("points", 1, "sub2", 1, "z"): 27,
    }
    assert {path: lines[path] for path in expected} == expected


def test_what_has_no_line_is_where_its_table_is() -> None:
    lines = lines_of("a = 1\n[b]\nc = 2\n")
    assert [find(lines, path) for path in (("b", "c"), ("b", "d"), ("e",))] == [3, 2, None]


# --- documents that Hypothesis makes, with a note of the line of every key

bare = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
strange = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=6).map(quoted)
literals = st.from_regex(r"'[^'\x00-\x08\n-\x1f\x7f]{0,6}'", fullmatch=True)
names = bare | strange | literals
blanks = st.sampled_from(["", " ", "\t", "  "])
comments = st.from_regex(r"#[ -~]{0,9}", fullmatch=True) | st.just("")
gaps = st.lists(comments, max_size=3).map("\n".join)
basic_long = st.from_regex(r'"""(?:[a-z#\]}\n\'=]|\\"){0,12}"""', fullmatch=True)
literal_long = st.from_regex(r"'''[a-z#\]}\n\\\"=]{0,12}'''", fullmatch=True)
scalars = st.sampled_from(["1", "-2.5e3", "true", "inf", "1979-05-27 07:32:00", "07:32:00", "0xAF", "1_000"])
plain = scalars | strange | literals | basic_long | literal_long


def _array(items: list[tuple[str, str, str]]) -> str:
    return "[" + ",".join(f"{gap}\n{item}{after}" for item, gap, after in items) + "\n]"


def _inline(pairs: list[tuple[str, str]]) -> str:
    return "{ " + ", ".join(f"{name} = {value}" for name, value in pairs) + " }"


values = st.recursive(
    plain,
    lambda inner: (
        st.lists(st.tuples(inner, comments, blanks), max_size=3).map(_array)
        | st.lists(st.tuples(names, inner), max_size=3, unique_by=lambda p: p[0]).map(_inline)
    ),
    max_leaves=5,
)
statements = st.one_of(
    st.tuples(st.just("pair"), st.lists(names, min_size=1, max_size=3), values, gaps, blanks),
    st.tuples(st.just("table"), st.lists(names, min_size=1, max_size=3), comments, gaps, blanks),
    st.tuples(st.just("array"), st.lists(names, min_size=1, max_size=3), comments, gaps, blanks),
)


def document(parts: list[tuple], end: str) -> tuple[str, list[int]]:
    """The text, and the line of each statement that names something new: [a] may come after [a.b]."""
    text, begins = "", []
    for kind, keys, value, gap, blank in parts:
        text += f"{gap}\n{blank}"
        begins += [text.count("\n") + 1] * (kind != "table")
        dotted = f"{blank}.{blank}".join(keys)
        if kind == "pair":
            text += f"{dotted}{blank}={blank}{value}{blank}{end}"
        else:
            left, right = ("[", "]") if kind == "table" else ("[[", "]]")
            text += f"{left}{blank}{dotted}{blank}{right}{blank}{value}{end}"
    return text, begins


@settings(BUSY, max_examples=200)
@given(st.lists(statements, max_size=5), st.sampled_from(["\n", "\r\n"]))
@example([("pair", ["a"], '"""x"""', "", "")], "\n")
@example([("table", ["a", "b"], "#", "", ""), ("table", ["a"], "", "", "")], "\n")
def test_every_path_of_tomllib_has_a_line_and_no_other(parts: list[tuple], end: str) -> None:
    text, begins = document(parts, end)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # a key given twice, mostly
        return
    lines = lines_of(text.replace("\r\n", "\n"))
    assert set(lines) == set(leaves(data))
    assert set(begins) <= set(lines.values())


@settings(BUSY, max_examples=50)
@given(st.lists(bare, min_size=1, max_size=5, unique=True), st.lists(values, min_size=5, max_size=5), st.data())
def test_each_key_has_the_line_in_which_it_was_written(
    keys: list[str], written: list[str], data: st.DataObject
) -> None:
    text, expected = "", {}
    for name, value in zip(keys, written):
        text += data.draw(gaps) + "\n"
        expected[name] = text.count("\n") + 1
        text += f"{name} = {value}\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = lines_of(text)
    assert {name: lines[(name,)] for name in keys} == expected


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "   \n\t# x\n"])
def test_an_empty_document_has_no_lines(text: str) -> None:
    assert lines_of(text) == {}
