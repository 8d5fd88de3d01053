"""Arrows point one way: staging reads sources, intermediate reads staging, marts read both; nothing reads back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = {path.stem: path for path in (ROOT / "models").rglob("*.sql")}
SEEDS = {path.stem for path in (ROOT / "seeds").glob("*.csv")}
PAYLOADS = {"events", "event_rereads", "resources"}
LAYERS = ("staging", "intermediate", "marts")


def layer_of(model: str) -> int:
    return LAYERS.index(MODELS[model].relative_to(ROOT / "models").parts[0])


@pytest.mark.parametrize("model", sorted(MODELS))
def test_model_reads_no_later_layer(model: str) -> None:
    sql = MODELS[model].read_text()
    read = set(re.findall(r"(?:ref|touched_only|differing_rows|within_span)\('(\w+)'", sql)) - SEEDS
    later = {name for name in read if layer_of(name) > layer_of(model)}
    assert not later, f"{model} is {LAYERS[layer_of(model)]} and reads {sorted(later)}"
    if layer_of(model):
        assert not set(re.findall(r"source\('raw', '(\w+)'\)", sql)) & PAYLOADS, "only staging looks into payloads"
    else:
        assert not read - {name for name in read if name.startswith("stg_")}
