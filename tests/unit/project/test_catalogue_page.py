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


def test_the_entries_with_axes_are_known() -> None:
    found = {name for name in cells.names() if has_axes(cells.from_spec(name))}
    assert found == WITH_AXES
