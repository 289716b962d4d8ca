"""The sentence about how leaks were searched."""

from pipeline.config import DedupeConfig
from pipeline.dedupe.leak_search import leak_proof, leak_search


def test_the_sentence_is_about_the_rules_that_the_search_had() -> None:
    stated = {"radius": 6, "orientations": "none"}
    proof = leak_proof({"config": {"dedupe": stated}})
    assert proof == {**stated, "features": None, "search": leak_search(DedupeConfig(**stated), None)}
    assert "within 6 of 64 bits" in proof["search"]
