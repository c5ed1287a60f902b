"""A page is one well-formed file that needs nothing else and says what the other formats say."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from strange_cells import CELLS as STRANGE
from test_inspect import EVERY, ambiguous, at_a_point, cell_called, evaluate

import derive
from derive import pipeline
from derive.cli.main import FAILED, GOOD, WRONG_USE, status
from derive.inspect import show, usual
from derive.inspect.facts.chain_rule import Chain, Link
from derive.inspect.facts.cost import depth
from derive.inspect.facts.data_flow import Role, graph
from derive.inspect.facts.graph_layout import layered
from derive.inspect.facts.view import View
from derive.inspect.html.mathml import Parts, math, parts
from derive.symbolic.functions import less as less_than
from derive.symbolic.functions import number, symbol, where
from derive.textbook.notation import TEXT, Order, write
from derive.verification.report import Report, measured, not_run

PAGES = ("rnn", "lstm", "gru_reset_before", "lstm_layer_norm_ba2016", "min_gru")
VOID = {"meta", "br", "hr", "img", "link", "input"}

HOSTILE = """cell hostile
doc <script>alert(1)</script> & "quotes" 'too' --> </style> */
input x: I
state h: H
h' = tanh(W @ x + U @ h)
output h'
"""


class Page(HTMLParser):
    """Tags must close in order; what the page refers to is collected."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "action", "data", "srcset"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_markup(text: str) -> int:
    """Formulas and drawings are XML, and in a formula all text stands in a token element."""
    pieces = re.findall(r"<math>.*?</math>|<svg.*?</svg>", text, re.DOTALL)
    for piece in pieces:
        root = ElementTree.fromstring(piece)
        for element in root.iter() if root.tag == "math" else ():
            token = element.tag in ("mi", "mn", "mo", "mtext")
            assert bool((element.text or "").strip()) == token, piece
            assert not element.tail, piece
    return len(pieces)


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest) -> tuple[derive.Cell, str]:
    cell = cell_called(request.param)
    return cell, show(cell, usual("html"), "html")


# --- one file, well formed ------------------------------------------------------------------


def test_tags_close_in_order_and_anchors_are_unique(page: tuple[derive.Cell, str]) -> None:
    found = Page(page[1])
    assert len(found.ids) == len(set(found.ids))


def test_nothing_comes_from_elsewhere(page: tuple[derive.Cell, str]) -> None:
    found = Page(page[1])
    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert {link for link in found.links if not link.startswith("#")} == set()
    assert not {name for name in found.attributes if name.startswith("on")}
    style = page[1].partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import|https?:", style)


def test_every_link_leads_to_an_anchor(page: tuple[derive.Cell, str]) -> None:
    found = Page(page[1])
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_links_of_a_page_with_few_stages_lead_somewhere() -> None:
    found = Page(show(derive.cells.lstm(), stages=("gradient", "c"), format="html"))
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_formulas_and_graph_are_well_formed_xml(page: tuple[derive.Cell, str]) -> None:
    assert check_markup(page[1]) > 50


@pytest.mark.parametrize("name", STRANGE)
def test_pages_of_odd_cells_are_well_formed(name: str) -> None:
    cell = cell_called(f"strange {name}")
    text = show(cell, stages=("cell", "gradient", "schedule", "cost", "numpy"), format="html")
    found = Page(text)
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    check_markup(text)


def test_hostile_text_is_shown_and_not_run() -> None:
    text = show(derive.Cell.parse(HOSTILE), format="html")
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quotes&#34;" in text
    assert text.count("</style>") == 1


# --- its size -------------------------------------------------------------------------------


def test_a_page_is_small_and_says_what_it_leaves_out() -> None:
    small, large = (show(derive.cells.from_spec(name), format="html")
                    for name in ("lstm", "lstm_layer_norm_ba2016"))  # fmt: skip
    assert max(len(small.encode()), len(large.encode())) < 300_000
    assert "Left out" not in small and 'id="mcu"' in small and 'class="chain"' in small
    left = large.partition("Left out, so that the page stays small: ")[2].partition("</p>")[0]
    assert "Chain rule, Schedule, Generated NumPy, Generated C" in left
    assert "--stage chain,schedule,numpy,c,mcu" in left
    assert 'class="chain"' not in large and 'id="schedule"' not in large and "#stage" not in large


# --- two notations --------------------------------------------------------------------------


def test_a_page_has_a_switch_to_the_notation_of_time() -> None:
    cell = derive.cells.rnn()
    text = show(cell, format="html")
    assert text.count('type="radio"') == 2
    for wanted in ("cell", "gradient"):
        timed = show(cell, (wanted,), "html", notation="time")
        for formula in re.findall(r'<span class="piece">(<math>.*?</math>)', timed):
            assert formula in text
    assert text.count('<span class="rhs timed">') == text.count('<span class="rhs stepped">') > 8
    assert "radio" not in show(cell, ("shapes",), "html")
    assert "radio" not in show(cell, ("cell",), "html", notation="time")


# --- what it holds --------------------------------------------------------------------------


def test_every_equation_and_every_gradient_line_is_there(page: tuple[derive.Cell, str]) -> None:
    cell, text = page
    ids = set(Page(text).ids)
    found = View(cell).derivation
    assert {f"eq-{equation.lhs.name}" for equation in cell.equations} <= ids
    assert {f"where-{line.name}" for line in found.where} <= ids
    assert {f"grad-{line.name}" for line in found.gradient} <= ids
    assert text.count('<details class="chain">') == len(found.gradient)


def test_all_generated_text_is_there_line_by_line() -> None:
    cell = derive.cells.gru(reset="before")
    text = show(cell, format="html")
    shown = re.sub(r" <a href[^>]*>[^<]*</a>", "", text)
    for target in ("numpy", "c"):
        for path, wanted in derive.emit(cell, target).items():
            if path.endswith("derive_kernels.h"):
                continue
            block = shown.partition(f"<summary><code>{path}</code>")[2].partition("</pre>")[0]
            lines = re.findall(r'^<span(?: id="[\w-]+")?>(.*)</span>$', block, re.MULTILINE)
            for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&#34;", '"'), ("&#39;", "'")):
                lines = [line.replace(entity, sign) for line in lines]
            assert [line.replace("&amp;", "&") for line in lines] == wanted.rstrip().split("\n")


def test_every_line_of_the_gradient_leads_to_generated_c() -> None:
    text = show(derive.cells.lstm(), format="html")
    for block in re.findall(r'<div class="eq" id="grad-.*?</div>', text, re.DOTALL):
        assert re.search(r'href="#c-lstm-c-\d+">C \d+<', block), block[:60]


def test_code_leads_to_the_equation_that_it_computes() -> None:
    text = show(derive.cells.gru(reset="before"), format="html")
    lines = [line for line in text.splitlines() if re.search(r">\s+h_next = z \* h", line)]
    assert lines and all('<a href="#eq-h_next">' in line for line in lines)
    lines = [line for line in text.splitlines() if "r_z = sigmoid(a)" in line]
    assert lines
    assert all(re.findall(r'href="#([^"]*)"', line) == ["eq-r", "eq-z"] for line in lines)


def test_kept_bytes_are_those_of_the_schedule() -> None:
    text = show(derive.cells.lstm(), format="html", sizes={"H": 10})
    assert "24*H = 240 bytes per step and row in float32" in text
    assert text.count('<div class="bar">') == 6


# --- the chain rule -------------------------------------------------------------------------


def _all(links: tuple[Link, ...]) -> list[Link]:
    return [inner for link in links for inner in (link, *_all(link.behind))]


@pytest.mark.parametrize("name", EVERY)
def test_contributions_add_up_to_the_cotangent(name: str) -> None:
    cell = cell_called(name)
    if ambiguous(cell):
        pytest.skip("an array is called like a function")
    values, sizes = at_a_point(cell)
    view = View(cell)
    found = view.derivation
    shown = [line.name for line in (*found.equations, *found.where)]
    chain = Chain(view.gradient, [line.name for line in found.gradient], shown)
    for array, cotangent in view.gradient.derivative.of:
        wanted = values[cotangent]
        total = np.zeros_like(wanted)
        for link in chain.links(array):
            total = total + evaluate(write(link.term, TEXT, Order({})), values, sizes)
        np.testing.assert_allclose(total, wanted, rtol=1e-11, atol=1e-13)


def test_a_cotangent_without_a_line_is_explained_where_it_is_used() -> None:
    view = View(derive.cells.lstm())
    printed = [line.name for line in view.derivation.gradient]
    chain = Chain(view.gradient, printed, [line.name for line in view.derivation.equations])
    carried, through = chain.links("c_next")
    assert carried.consumer == "" and through.consumer == "tanh_c_next"
    assert [link.consumer for link in through.behind] == ["h_next"]


# --- the graph ------------------------------------------------------------------------------


def test_the_cell_state_of_an_lstm_flows_without_a_product() -> None:
    found = graph(derive.cells.lstm())
    assert found.direct == {"c", "c_next", "h_next", "next c", "next h"}
    assert {"h", "U_f_h", "f"} <= found.recurrent
    assert not {"x", "W_f_x"} & found.recurrent


def test_a_simple_recurrent_network_has_no_direct_way() -> None:
    assert graph(derive.cells.rnn()).direct == frozenset()


@pytest.mark.parametrize("name", EVERY)
def test_nodes_do_not_overlap_and_edges_go_right(name: str) -> None:
    found = graph(cell_called(name))
    reads = {node.key: node.reads for node in found.nodes}
    ends = [node.key for node in found.nodes if node.role in (Role.NEXT, Role.OUTPUT)]
    layout = layered(reads, dict.fromkeys(reads, (60.0, 30.0)), ends)
    for (x, y), (u, v) in combinations(layout.places.values(), 2):
        assert abs(x - u) >= 60 or abs(y - v) >= 30
    for (source, target), points in layout.edges.items():
        (x, _), (u, _) = layout.places[source], layout.places[target]
        steps = [x, *(p[0] for pair in points for p in pair), u]
        assert steps == sorted(steps) and x < u


# --- cost -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("lstm", (1, 1)), ("gru_reset_before", (2, 2)), ("min_gru", (0, 0)), ("rnn", (1, 1))],
)
def test_depth_counts_products_one_after_the_other(name: str, wanted: tuple[int, int]) -> None:
    found = pipeline.schedule(derive.cells.from_spec(name))
    assert (depth(found.forward), depth(found.backward)) == wanted


def test_every_format_tells_the_depth() -> None:
    cell = derive.cells.from_spec("gru_reset_before")
    assert re.search(r"products in sequence, backward +2\n", show(cell, ("cost",)))
    assert r"products in sequence, forward &  & 2 \\" in show(cell, ("cost",), "latex")
    found = json.loads(show(cell, ("cost",), "json"))["cost"]["products_in_sequence"]
    assert found == {"forward": 2, "backward": 2}
    assert 'in a step, forward</td><td></td><td class="number">2<' in show(cell, (), "html")


# --- MathML ---------------------------------------------------------------------------------


def test_names_are_taken_apart_as_in_latex() -> None:
    assert parts("d_U_f") == Parts(1, "U", ("f",))
    assert parts("h_next") == Parts(0, "h′", ())
    assert parts("gamma_c_next") == Parts(0, "γ", ("c′",))
    assert parts("mean_arg__") == Parts(0, "mean", ("arg__",))


def test_a_sum_breaks_between_its_terms() -> None:
    a, b = symbol("a"), symbol("b")
    first, second = math(a - b, Order({}))
    assert first == "<math><mi>a</mi></math>"
    assert second == '<math><mo form="infix">−</mo><mi>b</mi></math>'


def test_signs_inside_a_formula_are_operators() -> None:
    a, b = symbol("a"), symbol("b")
    (piece,) = math(a * (1 - b) * number("0.00001"), Order({}))
    text = "".join(ElementTree.fromstring(piece).itertext())
    assert "-" not in piece.replace('class="word"', "") and "1−b" in text and "10−5" in text


def test_a_reciprocal_has_a_numerator() -> None:
    (piece,) = math(1 / symbol("a"), Order({}))
    assert "".join(ElementTree.fromstring(piece).itertext()) == "1a"


def test_a_choice_is_two_rows() -> None:
    a, b = symbol("a"), symbol("b")
    (piece,) = math(where(less_than(a, b), a, b), Order({}))
    assert len(ElementTree.fromstring(piece).findall(".//mtr")) == 2


# --- verification, notebook, command line ---------------------------------------------------

_REPORT = Report(
    "lstm",
    7,
    (
        measured("values", "numpy: h_next", 1e-9, 1e-7, "running error"),
        measured("values", "c: h_next", 3e-8, 1e-7, "running error"),
        measured("gradient", "c: d_U", 2e-3, 1e-6, "running <error>"),
        not_run("second derivative", "c", "no compiler"),
    ),
)


def test_a_report_is_shown_with_observed_and_allowed() -> None:
    text = show(derive.cells.lstm(), stages=("cell",), format="html", report=_REPORT)
    Page(text)
    assert "1 of 3 checks FAILED, 1 not run." in text
    assert "3.0e-08" in text and "running &lt;error&gt;" in text and "no compiler" in text


def test_a_page_without_a_report_says_how_to_get_one() -> None:
    assert "derive verify --quick" in show(derive.cells.rnn(), ("cell",), "html")


def test_a_notebook_shows_the_four_objects() -> None:
    cell = derive.cells.gru()
    objects = (cell, derive.differentiate(cell), pipeline.schedule(cell), _REPORT)
    for shown in objects:
        found = Page(shown._repr_html_())
        assert "script" not in found.tags and not found.ids and not found.links
        latex = shown._repr_latex_()
        assert latex.count(r"\begin{") == latex.count(r"\end{") > 0
        assert latex.count(r"\left") == latex.count(r"\right")


def test_a_gradient_in_a_notebook_shows_its_chain_rule_folded() -> None:
    """The same lines as the page, each with the equations that lead to it; only links are gone."""
    cell = derive.cells.lstm()
    shown = derive.differentiate(cell)._repr_html_()
    page = show(cell, ("gradient",), "html")
    count = len(View(cell).derivation.gradient)
    assert shown.count('<details class="chain">') == page.count('<details class="chain">') == count
    found, wanted = (re.findall(r'title="([^"]*)"', text) for text in (shown, page))
    assert found == wanted


@pytest.mark.parametrize("name", PAGES)
def test_latex_of_the_same_content_is_balanced(name: str) -> None:
    text = show(cell_called(name), format="latex")
    opened: list[str] = []
    for kind, environment in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        if kind == "begin":
            opened.append(environment)
        else:
            assert opened.pop() == environment
    assert not opened
    for block in re.findall(r"\\begin\{align\*\}\n(.*?)\\end\{align\*\}", text, re.DOTALL):
        assert block.count("{") - block.count("}") == block.count(r"\{") - block.count(r"\}")
        assert block.count(r"\left") == block.count(r"\right")
        for row in re.sub(r"\\begin\{cases\}.*?\\end\{cases\}", "", block).split(r"\\"):
            assert row.count("&") == 1


def test_open_writes_a_file_and_calls_the_browser(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: not opened.append(url))
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    assert status(["show", "rnn", "--format", "html", "--open"]) == GOOD
    assert opened == [(tmp_path / "rnn.html").as_uri()]
    Page((tmp_path / "rnn.html").read_text())
    assert capsys.readouterr().out == ""


def test_only_pages_open_in_a_browser() -> None:
    assert status(["show", "rnn", "--open"]) == WRONG_USE


@pytest.mark.parametrize("format_", ["text", "latex", "json"])
def test_every_format_shows_the_verification(
    format_: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("derive.cli.show._verified", lambda cell: _REPORT)
    command = ["show", "rnn", "--stage", "cell", "--format", format_, "--verify"]
    assert status(command) == FAILED
    text = capsys.readouterr().out
    if format_ == "json":
        found = json.loads(text)["verification"]
        assert [row["check"] for row in found["rows"]] == [row.check for row in _REPORT.rows]
    else:
        assert "1 of 3 checks FAILED, 1 not run." in text
        assert "3.0e-08" in text and "second derivative" in text


def test_verify_puts_the_result_on_the_page_and_in_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("derive.cli.show._verified", lambda cell: _REPORT)
    assert status(["show", "rnn", "--format", "html", "--verify"]) == FAILED
    assert "1 of 3 checks FAILED" in capsys.readouterr().out
