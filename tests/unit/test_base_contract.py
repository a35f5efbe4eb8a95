"""What all contracts have in common."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.base import without_nul
from shared.contracts.graph import MAX_ID_BYTES, Node, Position
from shared.contracts.values import TextValue


@given(st.text(alphabet='a\\0u\0"ü'))
def test_nul_is_replaced_and_nothing_else(text):
    read = TextValue.model_validate_json(TextValue(text=text).to_json())
    assert read.text == text.replace("\0", "\ufffd")


def test_an_escaped_backslash_before_u0000_is_left_alone():
    assert without_nul(rb'"\\u0000"') == rb'"\\u0000"'


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_are_finite(number):
    with pytest.raises(ValueError, match="finite"):
        Position.model_validate_json(f'{{"x": {number}, "y": 0}}')


def test_an_id_fits_into_message_ids_whatever_its_alphabet():
    assert Node(id="漢" * (MAX_ID_BYTES // 3), type="text")
    with pytest.raises(ValueError, match="bytes"):
        Node(id="漢" * MAX_ID_BYTES, type="text")
