"""Names, titles and licenses that others wrote cannot break Markdown, YAML, LaTeX, BibTeX or JSON, and no worker is named."""

import csv
import html
import json
import re
import shutil
import subprocess

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pyarrow import parquet

from page.markdown import one_line
from pipeline.__main__ import main
from pipeline.publish.votes import pseudonyms
from pipeline.shards.document import (
    Grid,
    Heading,
    Items,
    Paragraph,
    Verbatim,
    latex,
    latex_text,
    markdown,
)
from pipeline.verify.dataset import verify
from tests.pipeline.built_tables import read

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda text: one_line(text)
)
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = '<script>x</script> | [a](javascript:b) `c` \\input{d} $e$ % & # _ ^ ~ { } "\n---\n- x: *y'


def shown(rendered: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", rendered)).strip()


@given(TEXT)
def test_markdown_shows_the_text_as_it_is(text):
    rendered = MARKDOWN.render(markdown([Paragraph(text)]))
    assert shown(rendered) == one_line(text)
    assert set(re.findall(r"<(\w+)", rendered)) <= {"p", "a"}  # a whole web address is a link


@given(TEXT, TEXT)
def test_a_cell_of_a_markdown_table_stays_in_its_cell(one, other):
    rendered = MARKDOWN.render(markdown([Grid(("a", "b"), [(one, other)])]))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", rendered, re.DOTALL)
    assert [shown(cell) for cell in cells] == [one_line(one), one_line(other)]


@given(st.lists(TEXT, min_size=1, max_size=3))
def test_items_of_a_markdown_list_stay_items(texts):
    rendered = MARKDOWN.render(markdown([Items([Paragraph(text) for text in texts])]))
    assert len(re.findall("<li>", rendered)) == len(texts)
    assert len(re.findall("<ul>", rendered)) == 1


COMMANDS = "textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textasciigrave|char34|times|leq|geq|alpha|kappa"


@given(TEXT)
def test_latex_has_no_command_or_special_character_of_the_text(text):
    escaped = latex_text(text)
    rest = re.sub(rf"\\({COMMANDS})(\{{\}})?|\\[{{}}&%$#_]", "", escaped)
    rest = re.sub(r"\{(\[|\]|\*|--)?\}|\$\$", "", rest)
    assert not set(rest) & set('\\{}&%#_~^<>|"`[]*')
    assert escaped.count("{") - escaped.count(r"\{") == escaped.count("}") - escaped.count(r"\}")


@given(TEXT, TEXT)
def test_a_row_of_a_latex_table_has_its_cells(one, other):
    text = latex([Grid(("a", "b"), [(one, other)])])
    row = text.splitlines()[4]
    assert len(re.findall(r"(?<!\\)&", row)) == 1
    assert row.endswith(" \\\\")


@pytest.fixture(scope="module")
def hostile(world, tmp_path_factory):
    """A build with workers, creators and licenses that try to break what names them, and its publication."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(world.folder, folder / "set")
    for name, columns in (("web.csv", ("license", "creator")), ("votes.csv", ("worker_id",))):
        with (folder / "set" / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            for column in columns:
                row[column] = (
                    f"{row[column]} {HOSTILE}" if column != "worker_id" else f"{row[column]} <b>|$\\input"
                )
        with (folder / "set" / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    config = yaml.safe_load(world.config.read_text())
    config["source"] = str(folder / "set")
    config["noise"] = {"levels": [0, 0.5], "colors": ["red"]}
    config["publication"] = {
        "title": HOSTILE, "description": HOSTILE, "authors": [{"name": HOSTILE, "affiliation": HOSTILE}],
        "license": "CC0-1.0", "date": "2026-12-01", "url": "https://example.org/", "keywords": [HOSTILE],
        "limitations": [HOSTILE], "maintenance": HOSTILE, "annotator_demographics": HOSTILE, "votes": "pseudonymous",
        "allow_licenses": ["cc0", "unknown"], "image_licenses": {"clean": "cc0", "test": "cc0"},
    }  # fmt: skip
    (folder / "build.yaml").write_text(yaml.safe_dump(config))
    common = ["--config", str(folder / "build.yaml")]
    assert main(["build", *common, "--output", str(folder / "out"), "--direct_num_workers=1"]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBLICATION_KEY", "a secret of the laboratory")
        assert main(["publish", str(folder / "out"), *common, "--to", str(folder / "published")]) == 0
    return folder / "published"


def test_the_publication_verifies_and_its_files_parse(hostile):
    assert verify(str(hostile)).problems == ()
    _, header, body = re.split("^---$", (hostile / "README.md").read_text(), maxsplit=2, flags=re.MULTILINE)
    assert yaml.safe_load(header)["tags"][-1] == one_line(HOSTILE)
    assert json.loads((hostile / "croissant.json").read_text())["name"] == HOSTILE
    assert yaml.safe_load((hostile / "CITATION.cff").read_text())["title"] == one_line(HOSTILE)
    rendered = MARKDOWN.render(body)
    assert "<script" not in rendered
    assert 'href="javascript:' not in rendered
    text = (hostile / "methods.tex").read_text()
    assert "\\input{" not in text


def test_no_worker_is_named_anywhere(hostile):
    names = {f"w{number} <b>" for number in range(3)}
    for path in hostile.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [name for name in names if name.encode() in data], path


def test_votes_are_complete_and_their_workers_pseudonyms(hostile):
    table = parquet.read_table(hostile / "votes.parquet")
    assert table.num_rows == 405
    workers = set(table["worker"].to_pylist())
    assert len(workers) == 3
    assert all(re.fullmatch("w[0-9a-f]{16}", name) for name in workers)
    counts = table.group_by(["image_id", "class_name"]).aggregate([([], "count_all")])
    assert set(counts["count_all"].to_pylist()) == {3}


def test_pseudonyms_depend_on_the_key_alone():
    names = pa.array(["ann", "bob"])
    first = pseudonyms(names, b"one secret of ours")
    assert first.equals(pseudonyms(names, b"one secret of ours"))
    assert not set(first.to_pylist()) & set(pseudonyms(names, b"another secret").to_pylist())


def test_pseudonyms_need_a_key(publish, monkeypatch, capsys):
    for value in ("", "short"):
        monkeypatch.setenv("PUBLICATION_KEY", value)
        assert publish(votes="pseudonymous") == 2
        assert "PUBLICATION_KEY" in capsys.readouterr().err


def test_other_vote_files_than_those_of_the_build_are_an_error(publish, world, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PUBLICATION_KEY", "a secret of the laboratory")
    source = shutil.copytree(world.folder, tmp_path / "source")
    with (source / "votes.csv").open("a") as file:
        file.write("web-ant-1,ant,w9,no,1\n")
    assert publish("--set", f"source={source}", votes="pseudonymous") == 1
    assert "has changed since the verdicts were made" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["aggregate.min_votes=1", "aggregate.repeated_votes=last", "votes=[]"])
def test_votes_of_another_configuration_than_that_of_the_build_are_an_error(
    publish, monkeypatch, capsys, value
):
    monkeypatch.setenv("PUBLICATION_KEY", "a secret of the laboratory")
    assert publish("--set", value, votes="pseudonymous") == 1
    assert "the verdicts were made with other values of votes or aggregate" in capsys.readouterr().err


def test_the_shards_name_no_worker(built):
    assert "worker_id" not in read(built / "dataset" / "red-0.50").column_names


LETTERS = st.text(alphabet=st.characters(max_codepoint=0x7F) | st.sampled_from("éüßñçø×≤ακ–’“…"), max_size=40)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_latex_compiles_with_any_text(hostile, tmp_path):
    texts: list[str] = [HOSTILE, "?`!`--''``,,<<>>", "*", "[x]", "-- ---", "~^\\"]

    @settings(max_examples=60, database=None)
    @given(LETTERS)
    def collect(text):
        texts.append(text)

    collect()
    blocks = [Grid(("a", "b"), [(text, text) for text in texts]), Items([Paragraph(text) for text in texts])]
    document = [*blocks, Verbatim("\n".join(texts)), *(Heading(text, 3) for text in texts if one_line(text))]
    (tmp_path / "any.tex").write_text(latex(document), encoding="utf-8")
    shutil.copy(hostile / "methods.tex", tmp_path / "methods.tex")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{longtable}\n\\begin{document}\n\\input{methods}\n\\input{any}\n\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
