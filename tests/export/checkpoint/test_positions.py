"""How many tokens a model takes: told by the model itself, and so by what it does with one more."""

from __future__ import annotations

from typing import Any

import pytest

from support.architectures import make_model

torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.checkpoint.positions import usable_positions  # noqa: E402

VOCABULARY = 200
# With a table of 140 positions: those whose padding id counts (0) have one or two rows that no token gets.
TABLES = {
    "bert": 140,
    "distilbert": 140,
    "electra": 140,
    "xlm": 140,
    "roberta": 139,
    "camembert": 139,
    "data2vec-text": 139,
    "ibert": 139,
    "xlm-roberta": 139,
    "mpnet": 138,
}


def run(model: Any, length: int) -> None:
    with torch.no_grad():
        model(input_ids=torch.randint(10, VOCABULARY, (1, length)))


@pytest.mark.parametrize(("kind", "usable"), TABLES.items())
def test_one_token_more_than_usable_is_out_of_the_table(kind: str, usable: int) -> None:
    model = make_model(kind, VOCABULARY)
    assert usable_positions(model) == usable
    run(model, usable)
    with pytest.raises((IndexError, RuntimeError)):
        run(model, usable + 1)


def test_the_padding_id_moves_the_first_position() -> None:
    model = make_model("roberta", VOCABULARY, pad_token_id=7)
    assert usable_positions(model) == 132
    run(model, 132)
    with pytest.raises((IndexError, RuntimeError)):
        run(model, 133)


def test_rotary_encoders_have_what_their_config_says() -> None:
    assert usable_positions(make_model("modernbert", VOCABULARY)) == 140
    assert usable_positions(make_model("nomic_bert", VOCABULARY)) == 140


def test_rotary_angles_that_change_with_the_length_limit_it() -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "original_max_position_embeddings": 48,
        "short_factor": [1.0, 1.0, 1.0, 1.0],
        "long_factor": [2.0, 3.0, 4.0, 5.0],
    }
    assert usable_positions(make_model("gte", VOCABULARY, rope_parameters=rope)) == 48
    linear = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}
    assert usable_positions(make_model("gte", VOCABULARY, rope_parameters=linear)) == 140


def test_attention_in_blocks_is_full_up_to_some_length() -> None:
    sizes = {"attention_type": "block_sparse", "block_size": 8, "num_random_blocks": 2, "max_position_embeddings": 512}
    model = make_model("big_bird", VOCABULARY, **sizes)
    assert usable_positions(model) == 72
    run(model, 72)
    assert model.bert.attention_type == "original_full"  # as it is from the first short text on


def test_a_model_without_positions_takes_any_length() -> None:
    model = make_model("modernbert", VOCABULARY)
    model.config.max_position_embeddings = -1
    assert usable_positions(model) is None
