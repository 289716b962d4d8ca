import json
import re
from dataclasses import dataclass, field, fields
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common.config import (
    build,
    fetching,
    fetching_values,
    mark_of,
    merge,
    operational,
    output,
    output_values,
    parse_overrides,
    parse_yaml,
    stage_values,
)
from common.errors import UsageError


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    method: Literal["text", "image"] = "text"

    def __post_init__(self) -> None:
        if self.share > 1:
            raise ValueError(f"share is at most 1, got {self.share}")


@dataclass(frozen=True)
class Outer:
    source: str
    levels: tuple[float, ...] = (0.0,)
    rows: int = 1
    nested: bool = True
    class_map: dict[str, str] | None = None
    inner: Inner = field(default_factory=Inner)
    start: int | Literal["first", "last"] | None = None


def made(text: str, *overrides: str) -> Outer:
    return build(Outer, merge(parse_yaml(text, "a.yaml"), parse_overrides(overrides)), "a.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sorce: x", "a.yaml: unknown key 'sorce'; did you mean 'source'?"),
        ("{source: x, zzz: 1}", "a.yaml: unknown key 'zzz'; known keys: source, levels, rows"),
        ("{source: x, inner: {shares: 1}}", "a.yaml.inner: unknown key 'shares'; did you mean 'share'?"),
        ("rows: 2", "a.yaml: the key 'source' is missing; give it in the file or with --set source="),
        ("source: 3", "a.yaml.source: expected str, got 3"),
        ("{source: x, rows: 2.5}", "a.yaml.rows: expected int, got 2.5"),
        ("{source: x, rows: true}", "a.yaml.rows: expected int, got True"),
        ("{source: x, nested: 1}", "a.yaml.nested: expected bool, got 1"),
        ("{source: x, levels: 0.5}", "a.yaml.levels: expected a list, got 0.5"),
        ("{source: x, levels: [0, half]}", "a.yaml.levels[1]: expected float, got 'half'"),
        ("{source: x, levels: [true]}", "a.yaml.levels[0]: expected float, got True"),
        ("{source: x, levels: [1" + "0" * 400 + "]}", "a.yaml.levels[0]: expected float, got 1000"),
        ("{source: x, inner: 3}", "a.yaml.inner: expected keys and values, got 3"),
        ("{source: x, inner: {method: smell}}", "a.yaml.inner.method: 'smell' is not one of text, image"),
        ("{source: x, class_map: [a]}", "a.yaml.class_map: expected keys and values, got ['a']"),
        ("{source: x, class_map: {a: 1}}", "a.yaml.class_map.a: expected str, got 1"),
        (
            "{source: x, start: soon}",
            "a.yaml.start: expected int, got 'soon'; or 'soon' is not one of first, last",
        ),
        ("{source: x, inner: {share: 2}}", "a.yaml.inner: share is at most 1, got 2"),
        ("[source]", "a.yaml: expected keys and values at the top level"),
        ("{source: x", "a.yaml: while parsing a flow mapping"),
        ("", "a.yaml: expected keys and values at the top level"),
        (
            "source: 2020-13-45",
            "a.yaml: '2020-13-45' is not a valid timestamp; correct it, or put text in quotes\n  in \"<unicode string>\", line 1",
        ),
        ("source: " + "[" * 500, "a.yaml: nested too deeply"),
        (
            "source: x\nrows: 2\nrows: 3",
            "a.yaml: duplicate key 'rows'\n  in \"<unicode string>\", line 3, column 1",
        ),
        ("{source: x, inner: {share: 1, share: 1}}", "a.yaml: duplicate key 'share'"),
    ],
)
def test_errors_name_location_and_remedy(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(text)
    assert message in str(caught.value)


def test_what_is_named_once_may_be_used_twice() -> None:
    config = made("source: &name x\nclass_map: {a: *name, b: *name}")
    assert config == Outer("x", class_map={"a": "x", "b": "x"})


def test_what_yaml_has_no_type_for_is_converted() -> None:
    config = made("{source: x, levels: [0, 1e-3, 5e-1], class_map: {a: b}, inner: {share: 1}}")
    assert config == Outer("x", (0.0, 0.001, 0.5), class_map={"a": "b"}, inner=Inner(1.0))
    assert [type(level) for level in config.levels] == [float] * 3


def test_null_is_none_where_none_is_allowed() -> None:
    assert made("{source: x, class_map: null}").class_map is None
    with pytest.raises(UsageError, match=r"a\.yaml\.source: expected str, got None"):
        made("source: null")


def test_overrides_reach_nested_keys_and_leave_the_others() -> None:
    config = made("{source: x, rows: 3, inner: {share: 0.1, method: image}}", "inner.share=1e-1", "source=y")
    assert config == Outer("y", rows=3, inner=Inner(0.1, "image"))


def test_an_override_may_be_a_list_or_hold_an_equals_sign() -> None:
    assert parse_overrides(["a=[1, 2]", "b.c=x=y"]) == {"a": [1, 2], "b": {"c": "x=y"}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rows"], "--set 'rows': expected KEY=VALUE"),
        (["=3"], "--set '=3': expected KEY=VALUE"),
        (["a=[1"], "--set 'a=[1': the value is not valid YAML"),
        (["a=2020-13-45"], "--set 'a=2020-13-45': the value is not valid YAML"),
        (["a=1", "a.b=2"], "--set 'a.b=2': 'a' is already set to 1"),
        (["a.b=2", "a=1"], "--set 'a=1': 'a' is already set to {'b': 2}"),
    ],
)
def test_a_wrong_override_is_a_usage_error(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_overrides(overrides)
    assert message in str(caught.value)


def test_later_overrides_keep_the_other_keys_of_earlier_ones() -> None:
    assert parse_overrides(["a.b=1", "a={c: {d: 2}}", "a.c.e=3", "a.b=4"]) == {
        "a": {"b": 4, "c": {"d": 2, "e": 3}}
    }


@pytest.mark.parametrize("zero", ["-0.0", "-0", "-0e0", "'-0.0'"])
def test_negative_zero_is_zero(zero: str) -> None:
    """It would be the name of another set, and another key of a stage."""
    found = made(f"{{source: x, levels: [0.5, {zero}], inner: {{share: {zero}}}}}")
    assert repr((found.levels, found.inner.share)) == "((0.5, 0.0), 0.0)"


def test_merging_changes_neither_side() -> None:
    base, over = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 9}, "d": {"e": 4}}
    assert merge(base, over) == {"a": {"b": 9, "c": 2}, "d": {"e": 4}}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}
    assert over == {"a": {"b": 9}, "d": {"e": 4}}


@dataclass(frozen=True)
class Section:
    size: int = output(224)
    names: tuple[str, ...] = output(default_factory=tuple)
    limit: int = output(9, fetching=True)
    tries: int = fetching(3)
    workers: int = operational(4)


@dataclass(frozen=True)
class Whole:
    source: str = operational()
    classes: tuple[str, ...] = output(stages=("one", "two"))
    seed: int = output(0, stages={"two": lambda config: config.section.size > 300})
    section: Section = output(default_factory=Section, stages=("two",))


def test_a_marked_field_is_a_field_with_its_default_or_without() -> None:
    made = build(Whole, {"source": "data", "classes": ["a"], "section": {"tries": 5}})
    assert made == Whole("data", ("a",), 0, Section(224, (), 9, 5, 4))
    with pytest.raises(UsageError, match="the key 'source' is missing"):
        build(Whole, {"classes": []})


def test_a_field_is_marked_by_what_it_affects() -> None:
    kinds = {one.name: mark_of(one).kinds for one in fields(Section)}
    assert kinds == {
        "size": ["output"], "names": ["output"], "limit": ["output", "fetch"], "tries": ["fetch"],
        "workers": ["operational"],
    }  # fmt: skip


def test_values_are_chosen_by_what_they_affect() -> None:
    section = Section(names=("x",))
    assert output_values(section) == {"size": 224, "names": ["x"], "limit": 9}
    assert fetching_values(section) == {"limit": 9, "tries": 3}
    config = Whole("data", ("a",), section=section)
    assert stage_values(config, "one") == {"classes": ["a"]}
    assert stage_values(config, "two") == {"classes": ["a"], "section": output_values(section)}
    large = Whole("data", ("a",), section=Section(size=512))
    assert stage_values(large, "two")["seed"] == 0


@pytest.mark.parametrize(
    "key",
    ["yes", "No", "on", "off", "true", "1", "1.0", "010", "0x1", "1_000", "12:30", "null", "~", "2020-01-01"],
)
def test_keys_are_text_as_they_stand(key: str) -> None:
    assert made(f"{{source: x, class_map: {{{key}: other}}}}").class_map == {key: "other"}


@pytest.mark.parametrize("word", ["trueno", "Falsetto", "true-blue", "TRUE1"])
def test_words_that_begin_like_a_bool_are_text(word: str) -> None:
    assert made(f"{{source: {word}, class_map: {{right: {word}}}}}").class_map == {"right": word}


@pytest.mark.parametrize(
    "value",
    [
        "!!bool x",
        "!!timestamp x",
        "!!int x",
        "!!int ''",
        "!!binary é",
        "!!set 3",
        "!!float {}",
        "0x" + "f" * 5000,
        "1:" * 3000 + "1",
        "1:" * 3000 + "1.0",
    ],
)
def test_a_tag_that_does_not_fit_its_value_is_a_usage_error(value: str) -> None:
    with pytest.raises(UsageError, match=r"x\.yaml"):
        parse_yaml(f"source: {value}", "x.yaml")
    with pytest.raises(UsageError, match="not valid YAML"):
        parse_overrides([f"source={value}"])


@pytest.mark.parametrize("word", ["yes", "no", "Yes", "NO", "on", "off", "y", "n"])
def test_words_that_yaml_1_1_takes_for_bools_are_text_where_text_is_expected(word: str) -> None:
    assert made(f"{{source: {word}, class_map: {{right: {word}}}}}").class_map == {"right": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [("yes", True), ("On", True), ("true", True), ("no", False), ("OFF", False), ("False", False)],
)
def test_they_are_still_bools_where_a_bool_is_expected(word: str, value: bool) -> None:
    assert made(f"{{source: x, nested: {word}}}").nested is value
    assert made("source: x", f"nested={word}").nested is value


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("true", "bool"),
        ("1", "int"),
        ("010", "int"),
        ("1.10", "float"),
        ("2026-12-01", "date"),
        ("null", "no value"),
        ("", "no value"),
    ],
)
def test_the_error_for_a_value_that_is_no_text_has_a_remedy(value: str, read: str) -> None:
    """It does not repeat the value in quotes: 010 has been read as 8, and 1.10 as 1.1."""
    with pytest.raises(UsageError, match=rf"expected str, .* as {read}, so write the text in quotes"):
        made(f"source: {value}")


def test_a_merge_key_still_merges() -> None:
    assert made("{source: x, inner: {<<: {share: 0.25}}}").inner.share == 0.25


@dataclass(frozen=True)
class Counts:
    whole: tuple[int, ...] = ()
    numbers: tuple[float, ...] = ()


NUMBERS = (
    st.lists(
        st.integers(-(2**64), 2**64) | st.floats() | st.booleans() | st.sampled_from(["1e-3", "x", None])
    )
    | st.lists(st.integers(0, 9))
    | st.lists(st.floats(0, 1))
)


@given(st.sampled_from(["whole", "numbers"]), NUMBERS)
def test_a_list_of_numbers_is_checked_as_each_of_its_numbers(name: str, values: list[object]) -> None:
    """Lists of equal type are checked at once."""

    def built(items: list[object]) -> tuple[object, ...] | str:
        try:
            return tuple(getattr(build(Counts, {name: items}), name))
        except UsageError as error:
            return re.sub(r"\[\d+\]", "", str(error))

    one_by_one = [built([value, "0"] if name == "numbers" else [value]) for value in values]
    errors = [one for one in one_by_one if isinstance(one, str)]
    result = built(values)
    if errors:
        assert result == errors[0]
    else:
        assert list(map(repr, result)) == [repr(one[0]) for one in one_by_one]


@pytest.mark.parametrize(
    "text",
    ['name: "\\ud800"', 'name: "\\udfff\\ud800"', 'name: "a\\0b"', 'a: [{b: "\\ud800"}]', '"\\ud800": a'],
)
def test_text_that_no_file_can_hold_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"a\.yaml.*NUL or half of a character(.|\n)*line 2"):
        parse_yaml(f"x: 1\n{text}", "a.yaml")
    if text.startswith("name"):
        with pytest.raises(UsageError, match="NUL or half of a character"):
            parse_overrides([text.replace(": ", "=", 1)])


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\x7f")))
def test_text_in_json_escapes_is_read_as_it_was_written(text: str) -> None:
    """JSON has characters beyond U+FFFF as two escapes. Paths below ~ are another matter."""
    assume(not text.startswith("~/"))
    assert parse_yaml(json.dumps({"name": text}), "a.yaml") == {"name": text}


@pytest.mark.parametrize("written", ["~/x", "'~/x'", "[~/x]", "{a: ~/x}"])
def test_text_below_the_home_folder_is_an_absolute_path(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ant")
    for found in (parse_yaml(f"source: {written}", "a.yaml"), parse_overrides([f"source={written}"])):
        assert "/home/ant/x" in str(found)
        assert "~" not in str(found)
