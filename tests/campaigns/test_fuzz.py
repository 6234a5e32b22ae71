"""Every parser over many inputs: `CORESET_FUZZ=20000 pytest -m campaign tests/campaigns/test_fuzz.py -s`."""

from __future__ import annotations

import os
import sys
import time

import pytest
from hypothesis import HealthCheck, given, seed, settings
from strategies_fuzz import PARSERS, check

COUNT = int(os.environ.get("CORESET_FUZZ", "2000"))
"""Inputs for each parser."""


@pytest.mark.campaign
@pytest.mark.parametrize("name", PARSERS)
def test_fuzz(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = PARSERS[name]
    tried = 0

    @seed(0)
    @settings(max_examples=COUNT, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(parser.inputs)
    def try_it(drawn: object) -> None:
        nonlocal tried
        tried += 1
        check(parser, drawn)

    began = time.monotonic()
    try_it()
    with capsys.disabled():
        sys.stdout.write(f"\n| {name} | {tried:,} | {time.monotonic() - began:.0f} s |\n")
