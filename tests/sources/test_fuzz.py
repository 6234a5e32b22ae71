"""A short run of every parser over bytes that nearly mean something; `tests/campaigns/test_fuzz.py` is the long one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies_fuzz import PARSERS, check


@pytest.mark.parametrize("name", PARSERS)
def test_what_once_broke_a_parser_does_so_no_more(name: str) -> None:
    for example in PARSERS[name].examples:
        check(PARSERS[name], example)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_a_parser_raises_what_it_documents_and_ends(name: str, drawn: st.DataObject) -> None:
    check(PARSERS[name], drawn.draw(PARSERS[name].inputs))
