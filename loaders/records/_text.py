"""From bytes to a JSON value, or the reason why not. The limits of text live here, and the order in which they apply.

Numbers stay exact: integers as int, all others as Decimal. Strictness beyond the parser's: a number no double can
hold, a repeated key and a NUL are refused, because the engines downstream disagree about them in silence.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from loaders.records._verdicts import Rejection

RECORD_BYTE_LIMIT = 1 << 20
DOCUMENT_BYTE_LIMIT = 256 << 20
DEPTH_LIMIT = 64

# An unclosed string ends at the end of the text: the pattern then never backtracks, whatever it is fed.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NOT_A_NUMBER = re.compile(rb"(?<![\w.])-?(?:nan|inf(?:inity)?)(?![\w.])", re.IGNORECASE)
_NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
_ALL_BUT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_INTEGER_LIMIT = int(1.7976931348623157e308)


class _OutOfRange(Exception):
    pass


def _exact_number(text: str) -> Decimal:
    if float(text) in (float("inf"), float("-inf")):
        raise _OutOfRange(text)
    try:
        return Decimal(text)
    except InvalidOperation as error:  # an exponent beyond what Decimal holds, on a number that is zero
        raise _OutOfRange(text) from error


_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=_exact_number)
decode_exactly: Callable[[bytes | str], Any] = _DECODER.decode


def read_json(raw: bytes) -> tuple[Any, str]:
    """Return the JSON value in `raw` and its text. Raises Rejection with the first reason that applies."""
    if len(raw) > RECORD_BYTE_LIMIT:
        raise too_large(raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = "The record is not UTF-8: export it again as UTF-8."
        raise Rejection("invalid_utf8", message, found=raw[max(0, error.start - 20) : error.start + 20]) from error
    _refuse_nul(raw)
    _refuse_depth(raw)
    value = _decode(raw)
    _refuse_repeated_keys(raw, text, value)
    return value, text


def too_large(raw: bytes) -> Rejection:
    """Return the rejection of a record over the limit."""
    message = "The record is larger than 1 MiB: move long texts out of it, or split it."
    return Rejection("too_large", message, found=f"{len(raw)} bytes")


def _refuse_nul(raw: bytes) -> None:
    if b"\x00" in raw or (b"\\u0000" in raw and _NUL_ESCAPE.search(raw)):
        raise Rejection("nul_character", "The record holds a NUL character, which no text may: remove it.", found=raw)


def _refuse_depth(raw: bytes) -> None:
    if raw.count(b"{") + raw.count(b"[") <= DEPTH_LIMIT:
        return
    depth = deepest = 0
    for byte in STRING.sub(b"", raw).translate(None, _ALL_BUT_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > DEPTH_LIMIT:
        message = "The record is nested more than 64 levels deep: flatten it."
        raise Rejection("too_deep", message, found=f"{deepest} levels")


def _decode(raw: bytes) -> Any:
    try:
        return decode_exactly(raw)
    except (_OutOfRange, ValueError, RecursionError) as error:
        if (number := _number_out_of_range(raw)) is not None:
            message = "A number is NaN, infinite or too large for a double: send a finite number."
            raise Rejection("number_out_of_range", message, found=number) from error
        message = "The record is not valid JSON: mend it at the source, or check that the file was written to its end."
        raise Rejection("invalid_json", message, found=f"{error}: {raw[:100].decode('utf-8', 'replace')}") from error


def _number_out_of_range(raw: bytes) -> bytes | None:
    outside_strings = STRING.sub(b'""', raw)
    if match := _NOT_A_NUMBER.search(outside_strings):
        return match.group()
    for match in _NUMBER.finditer(outside_strings):
        if float(match.group()) in (float("inf"), float("-inf")):
            return match.group()
    return None


def _refuse_repeated_keys(raw: bytes, text: str, value: Any) -> None:
    # Every key ends in `":` once blanks are gone; texts may hold that too, so a surplus only raises suspicion.
    if raw.translate(None, b" \t\r\n").count(b'":') == _count_keys(value):
        return
    json.loads(text, object_pairs_hook=_refuse_repeated_pairs, parse_int=str, parse_float=str)


def _count_keys(value: Any) -> int:
    kind = type(value)
    if kind is dict:
        count = len(value)
        for inner in value.values():
            kind = type(inner)
            if kind is dict or kind is list:
                count += _count_keys(inner)
            elif kind is int:
                _refuse_integer(inner)
        return count
    if kind is list:
        return sum(map(_count_keys, value))
    if kind is int:
        _refuse_integer(value)
    return 0


def _refuse_integer(value: int) -> None:
    if not -_INTEGER_LIMIT <= value <= _INTEGER_LIMIT:
        message = "A number is NaN, infinite or too large for a double: send a finite number."
        raise Rejection("number_out_of_range", message, found=value)


def _refuse_repeated_pairs(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            # The engines disagree about which value counts.
            message = "A key stands twice in one object: send each key once."
            raise Rejection("invalid_json", message, found=f"key {json.dumps(key, ensure_ascii=False)}")
        seen.add(key)
