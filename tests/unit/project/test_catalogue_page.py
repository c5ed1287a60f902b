"""The page of the catalogue is what its generator writes, and its groups hold every family."""

from __future__ import annotations

import re

import catalogue_page
from entries import WITH_AXES, has_axes

from derive import cells
from derive.catalogue.entries import ENTRIES, GROUPS


def test_the_page_is_written_from_the_catalogue() -> None:
    """python tests/helpers/catalogue_page.py"""
    assert catalogue_page.PAGE.read_text("utf-8") == catalogue_page.page()


def test_every_family_is_in_one_group() -> None:
    grouped = [family for families in GROUPS.values() for family in families]
    assert sorted(grouped) == sorted({family for family, _ in ENTRIES.values()})


def test_every_docstring_says_where_its_equations_are_from() -> None:
    for family in {family for family, _ in ENTRIES.values()}:
        text = catalogue_page._docstring(family)
        assert re.search(r"\b(19|20)\d\d\b", text), family


#: Families that state numbers of equations, and where these were looked up.
LOOKED_UP = {
    "rnn": "as public notes on that book number them",
    "slstm": "in an excerpt of the paper",
    "titans": "by the comments in lucidrains'",
    "kda": "by a page of flash-linear-attention",
}


def test_a_number_of_an_equation_is_stated_where_it_was_looked_up_alone() -> None:
    for family in {family for family, _ in ENTRIES.values()}:
        text = " ".join(catalogue_page._docstring(family).split())
        assert re.search("quation numbers not checked", text), family
        doc = " ".join(cells.from_spec(family).doc.split())
        states = re.search(r"\beqs?\. \d", text) or re.search(r"\beqs?\. \d", doc)
        assert bool(states) is (family in LOOKED_UP), family
        assert LOOKED_UP.get(family, "") in text


def test_the_entries_with_axes_are_known() -> None:
    found = {name for name in cells.names() if has_axes(cells.from_spec(name))}
    assert found == WITH_AXES
