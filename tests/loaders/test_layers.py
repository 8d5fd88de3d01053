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


def test_types_are_tested_after_every_mart() -> None:
    """One that comes later would still have the types of an older version."""
    sql = (ROOT / "tests" / "warehouse" / "assert_marts_keep_the_types_of_their_names.sql").read_text()
    marts = {name for name in MODELS if layer_of(name) == LAYERS.index("marts")}
    assert set(re.findall(r"ref\('(\w+)'\)", sql)) == marts - {"usage_metadata"}, "usage_metadata is off by default"
