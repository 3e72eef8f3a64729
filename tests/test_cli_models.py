"""``headway models`` for text."""

from __future__ import annotations

import json
from typing import Any

import pytest


def _json(*arguments: str) -> Any:
    from typer.testing import CliRunner

    from headway.cli._models import app

    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_text_networks_are_listed_searched_and_looked_up() -> None:
    listed = _json("list", "--modality", "text")
    assert {spec["modality"] for spec in listed} == {"text"}
    assert listed[0]["name"] == "packaged:minilm_l6.sentences"
    assert all(spec["dim"] and spec["params"] and spec["licence"] for spec in listed)
    found = _json("search", "minilm apache", "--modality", "text")
    assert [spec["arch"] for spec in found] == ["minilm_l6", "minilm_l3"]
    told = _json("info", "e5_small.multilingual")
    assert told["input"] == {"tokens": 512, "pooling": "mean", "prefix": "query: ", "lower": False}
    assert _json("info", "packaged:*sentence_encoder*")["dim"] == 512


def test_an_unknown_modality_is_an_error() -> None:
    from headway import backbones
    from headway.errors import ModelError

    with pytest.raises(ModelError, match="Allowed: image, text"):
        backbones.listed("packaged", modality="smell")
    with pytest.raises(ModelError, match="no image network"):
        backbones.resolve(["packaged:minilm_l6.sentences"], modality="image", offline=True)
