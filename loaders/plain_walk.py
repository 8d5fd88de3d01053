"""The compiled half of `loaders.plain_events`: one walk over the bytes of each line, without Python objects.

Importing this loads numba; what it compiles is kept, see `load`. All that is compiled stands in this one file and takes
limits of other modules as arguments: numba looks only at this file to tell whether what it kept is still true.

Positions are places in a buffer that has a line end and seven more bytes behind each line that is looked at. No text,
number or word holds a line end, so that whatever looks for an end stops there without asking; and eight bytes can be
read at once from wherever it stands. A negative position means: not plain.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Integers32 = npt.NDArray[np.int32]
_Function = TypeVar("_Function", bound=Callable[..., Any])

# Less than the judge takes. Keys are those of all objects that are open at a moment.
_DEPTH_LIMIT, _KEYS_LIMIT = 32, 256
# What must stand behind a line.
_MARGIN = 8
# Bytes of an organization and an id together: as long as no real ones are.
_KEY_TEXT_LIMIT = 2000
_INTEGER_DIGITS, _EXPONENT_DIGITS = 18, 2

_QUOTE, _BACKSLASH, _COMMA, _COLON, _POINT, _PLUS, _MINUS = map(ord, '"\\,:.+-')
_LETTER_E, _LETTER_U, _LETTER_Z = map(ord, "euZ")
_OBJECT_BEGIN, _OBJECT_END, _LIST_BEGIN, _LIST_END = map(ord, "{}[]")
# What may follow a backslash besides a u.
_ESCAPES = tuple(b'"\\/bfnrt')


def _compiled(function: _Function) -> _Function:
    """Have a function compiled into those that call it."""
    return cast(_Function, numba.njit(function, nogil=True, error_model="numpy"))


# Numba counts references of an array, under a lock of the processor's, wherever one is passed on. So what is read is
# passed as an address, and only the first two of these read from one.

_Emitted = tuple[Any, Callable[[Any, Any, Any, Any], Any]]


def _emit_byte(_: object, at: types.Integer) -> _Emitted:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        return builder.zext(builder.load(place, typ=ir.IntType(8)), ir.IntType(64))

    return types.int64(types.int64), emit


def _emit_word(_: object, at: types.Integer) -> _Emitted:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(place, align=1, typ=ir.IntType(64))

    return types.int64(types.int64), emit


def _emit_address(_: object, array: types.Array) -> _Emitted:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), emit


def _emit_count(_: object, word: types.Integer) -> _Emitted:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), emit


# The byte at an address; the eight there, the first one lowest; an array's address; how many of the lowest bits of a
# word are zero, if not all are.
_byte_at = cast(Callable[[int], int], intrinsic(_emit_byte))
_word_at = cast(Callable[[int], int], intrinsic(_emit_word))
_address_of = cast(Callable[[Bytes], int], intrinsic(_emit_address))
_zeros_below = cast(Callable[[int], int], intrinsic(_emit_count))


def _signed(word: bytes) -> int:
    return int.from_bytes(word, "little", signed=True)


_ONES, _HIGHS, _SPACES, _QUOTES, _BACKSLASHES = (_signed(bytes([byte]) * 8) for byte in (1, 128, 32, 34, 92))
# The first bytes of a word: none to eight.
_FIRST = np.array([_signed(b"\xff" * size + bytes(8 - size)) for size in range(9)], np.int64)


@_compiled
def _after_ordinary(at: int) -> int:
    """Return the place of the next byte that is a quote, a backslash, a control character or no ASCII."""
    # Eight bytes at a time: a processor guesses well how often that goes round, but not where a text ends.
    while True:
        word = _word_at(at)
        quotes, backslashes = word ^ _QUOTES, word ^ _BACKSLASHES
        # A subtraction borrows from the next byte only where this one is marked, and only the first mark counts.
        marks = (quotes - _ONES) & ~quotes | (backslashes - _ONES) & ~backslashes | (word - _SPACES) & ~word | word
        marks &= _HIGHS
        if marks:
            return at + (_zeros_below(marks) >> 3)
        at += 8


# Texts


@_compiled
def _after_hex(at: int) -> tuple[int, int]:
    """Return the place after four hexadecimal digits, and their number."""
    number = 0
    for place in range(at, at + 4):
        byte = _byte_at(place)
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 97 <= byte | 32 <= 102:
            digit = (byte | 32) - 87
        else:
            return -1, 0
        number = number * 16 + digit
    return at + 4, number


@_compiled
def _after_escape(at: int) -> int:
    """Return the place after an escape; NUL's and those of lone surrogates are none."""
    byte = _byte_at(at + 1)
    if byte != _LETTER_U:
        return at + 2 if byte in _ESCAPES else -1
    at, number = _after_hex(at + 2)
    if at < 0 or number == 0 or 0xDC00 <= number <= 0xDFFF:
        return -1
    if 0xD800 <= number <= 0xDBFF:
        if _byte_at(at) != _BACKSLASH or _byte_at(at + 1) != _LETTER_U:
            return -1
        at, number = _after_hex(at + 2)
        if not 0xDC00 <= number <= 0xDFFF:
            return -1
    return at


@_compiled
def _after_utf8(at: int) -> int:
    """Return the place after a character of two to four bytes, in its shortest form and no surrogate."""
    first, second = _byte_at(at), _byte_at(at + 1)
    if second & 0xC0 != 0x80 or first < 0xC2 or first > 0xF4:
        return -1
    if first < 0xE0:
        return at + 2
    if _byte_at(at + 2) & 0xC0 != 0x80:
        return -1
    if first < 0xF0:
        is_odd = (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F)
        return -1 if is_odd else at + 3
    is_odd = (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F)
    return -1 if is_odd or _byte_at(at + 3) & 0xC0 != 0x80 else at + 4


@_compiled
def _after_text(at: int) -> int:
    """Return the place after the closing quote of the text that begins at `at`."""
    at += 1
    while True:
        at = _after_ordinary(at)
        byte = _byte_at(at)
        if byte == _QUOTE:
            return at + 1
        at = _after_utf8(at) if byte >= 128 else _after_escape(at) if byte == _BACKSLASH else -1
        if at < 0:
            return -1


# Other values


@_compiled
def _after_blanks(at: int) -> int:
    if _byte_at(at) <= 32:
        while _byte_at(at) == 32 or _byte_at(at) == 9:
            at += 1
    return at


@_compiled
def _after_digits(at: int) -> int:
    while 48 <= _byte_at(at) <= 57:
        at += 1
    return at


@_compiled
def _after_number(at: int) -> tuple[int, int, int, int]:
    """Return the place after a number that fits a double, its digits before and behind the point, and its exponent."""
    at += _byte_at(at) == _MINUS
    start = at
    at = _after_digits(at)
    integers, decimals, exponent = at - start, 0, 0
    if integers == 0 or integers > _INTEGER_DIGITS or (_byte_at(start) == 48 and integers > 1):
        return -1, 0, 0, 0
    if _byte_at(at) == _POINT:
        start = at + 1
        at = _after_digits(start)
        decimals = at - start
        if decimals == 0:
            return -1, 0, 0, 0
    if _byte_at(at) | 32 == _LETTER_E:
        at += 1
        is_negative = _byte_at(at) == _MINUS
        at += is_negative or _byte_at(at) == _PLUS
        start = at
        at = _after_digits(at)
        if at == start or at - start > _EXPONENT_DIGITS:
            return -1, 0, 0, 0
        for place in range(start, at):
            exponent = exponent * 10 + _byte_at(place) - 48
        exponent = -exponent if is_negative else exponent
    return at, integers, decimals, exponent


@_compiled
def _after_word(at: int) -> int:
    """Return the place after true, false or null."""
    word = _word_at(at)
    if word & _FIRST[4] == _TRUE or word & _FIRST[4] == _NOTHING:
        return at + 4
    return at + 5 if word & _FIRST[5] == _FALSE else -1


_TRUE, _FALSE, _NOTHING = (_signed(word.ljust(8, b"\0")) for word in (b"true", b"false", b"null"))


@_compiled
def _after_scalar(at: int) -> tuple[int, int]:
    """Return the place after a text, number, true, false or null, and its kind."""
    byte = _byte_at(at)
    if byte == _QUOTE:
        return _after_text(at), _TEXT
    if byte == _MINUS or 48 <= byte <= 57:
        end, integers, _, _ = _after_number(at)
        is_integer = end == at + integers + (byte == _MINUS)
        return end, _INTEGER if is_integer else _DECIMAL
    return _after_word(at), _NULL if byte == 110 else _BOOLEAN


# Keys


@_compiled
def _after_key(at: int) -> int:
    """Return the place of the closing quote of a key without escapes."""
    if _byte_at(at) != _QUOTE:
        return -1
    at += 1
    while True:
        at = _after_ordinary(at)
        if _byte_at(at) == _QUOTE:
            return at
        at = _after_utf8(at) if _byte_at(at) >= 128 else -1
        if at < 0:
            return -1


@_compiled
def _is_new(start: int, end: int, keys: Integers, base: int, count: int) -> bool:
    """Put a key at keys[count] and tell whether it differs from those since `base`, which are its object's."""
    # Their size and first bytes tell most keys apart.
    size = end - start
    mark = (_word_at(start) & _FIRST[min(size, 8)]) ^ size << 48
    for other in range(base, count):
        if keys[other, 0] == mark and _is_same(start, end, keys[other, 1], keys[other, 2]):
            return False
    keys[count, 0], keys[count, 1], keys[count, 2] = mark, start, end
    return True


@_compiled
def _is_same(start: int, end: int, other_start: int, other_end: int) -> bool:
    if end - start != other_end - other_start:
        return False
    for place in range(end - start):  # noqa: SIM110  (numba has no generators within functions)
        if _byte_at(start + place) != _byte_at(other_start + place):
            return False
    return True


# Instants and amounts


@_compiled
def _two_digits(at: int) -> int:
    """Return the number of two digits, or one that is too large for anything."""
    tens, ones = _byte_at(at) - 48, _byte_at(at + 1) - 48
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else 1000


_NO_DAY = 1 << 40


@_compiled
def _days_of(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01, or a number beyond all where there is no such day."""
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = 28 + is_leap if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    if not (1 <= month <= 12 and 1 <= day <= length):
        return _NO_DAY
    # Years that begin in March: the leap day is the last one.
    year -= month <= 2
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719468


@_compiled
def _after_instant(at: int) -> tuple[int, int]:
    """Return the place after an instant in quotes, and its whole seconds since 1970.

    Years from 1000 to 2999 stay between 1 and 9999 in every zone. Python and DuckDB know no second 60.
    """
    # The first byte that is no digit or mark where one must be ends the line's hopes before the line ends.
    for place in range(at, at + 20):
        if _INSTANT_FORM[place - at] != (48 if 48 <= _byte_at(place) <= 57 else _byte_at(place)):
            return -1, 0
    year = _two_digits(at + 1) * 100 + _two_digits(at + 3)
    days = _days_of(year, _two_digits(at + 6), _two_digits(at + 9))
    hour, minute, second = _two_digits(at + 12), _two_digits(at + 15), _two_digits(at + 18)
    if not 1000 <= year <= 2999 or days == _NO_DAY or hour > 23 or minute > 59 or second > 59:
        return -1, 0
    seconds = days * 86400 + hour * 3600 + minute * 60 + second
    at += 20
    if _byte_at(at) == _POINT:
        end = _after_digits(at + 1)
        if not 2 <= end - at <= 10:
            return -1, 0
        at = end
    if _byte_at(at) == _LETTER_Z:
        at += 1
    else:
        at, offset = _after_offset(at)
        seconds -= offset
    return (at + 1, seconds) if at >= 0 and _byte_at(at) == _QUOTE else (-1, 0)


_INSTANT_FORM = np.frombuffer(b'"0000-00-00T00:00:00', np.uint8)


@_compiled
def _after_offset(at: int) -> tuple[int, int]:
    sign = 1 if _byte_at(at) == _PLUS else -1 if _byte_at(at) == _MINUS else 0
    if sign == 0:
        return -1, 0
    hours = _two_digits(at + 1)
    if hours > 14 or _byte_at(at + 3) != _COLON:
        return -1, 0
    minutes = _two_digits(at + 4)
    return (at + 6, sign * (hours * 3600 + minutes * 60)) if minutes <= 59 else (-1, 0)


@_compiled
def _is_amount(start: int, end: int) -> bool:
    """Tell whether a number or a text is one of at most 5 digits before the point and 12 behind it."""
    is_text = _byte_at(start) == _QUOTE
    after, integers, decimals, exponent = _after_number(start + is_text)
    return after + is_text == end and integers + exponent <= 5 and decimals - exponent <= 12


# Names that mean something: those of a record, then those of its metadata, of `_cost` and of `_llm`.

_TEXT, _INTEGER, _DECIMAL, _BOOLEAN, _NULL, _OBJECT, _LIST = (1 << number for number in range(7))
_ANYTHING = 127
_IN_RECORD, _IN_METADATA, _IN_COST, _IN_LLM, _ELSEWHERE = range(5)

# (name, where it stands, what it may be): of a record's own fields in any event, of the others in a submission.
_MEMBERS = (
    ("id", _IN_RECORD, _TEXT),
    ("source", _IN_RECORD, _TEXT | _NULL),
    ("name", _IN_RECORD, _TEXT),
    ("timestamp", _IN_RECORD, _TEXT | _NULL),
    ("organization_id", _IN_RECORD, _TEXT | _NULL),
    ("external_id", _IN_RECORD, _TEXT | _NULL),
    ("customer_id", _IN_RECORD, _TEXT | _NULL),
    ("external_customer_id", _IN_RECORD, _TEXT | _NULL),
    ("ingested_at", _IN_RECORD, _TEXT | _NULL),
    ("metadata", _IN_RECORD, _OBJECT | _NULL),
    ("customer", _IN_RECORD, _ANYTHING),
    ("member_id", _IN_RECORD, _TEXT | _NULL),
    ("external_member_id", _IN_RECORD, _TEXT | _NULL),
    ("parent_id", _IN_RECORD, _TEXT | _NULL),
    ("label", _IN_RECORD, _ANYTHING),
    ("child_count", _IN_RECORD, _ANYTHING),
    ("_cost", _IN_METADATA, _OBJECT),
    ("_llm", _IN_METADATA, _OBJECT),
    ("amount", _IN_COST, _TEXT | _INTEGER | _DECIMAL),
    ("currency", _IN_COST, _TEXT),
    ("vendor", _IN_LLM, _TEXT),
    ("model", _IN_LLM, _TEXT),
    ("input_tokens", _IN_LLM, _INTEGER),
    ("output_tokens", _IN_LLM, _INTEGER),
    ("total_tokens", _IN_LLM, _INTEGER),
    ("cached_input_tokens", _IN_LLM, _INTEGER | _NULL),
    ("prompt", _IN_LLM, _TEXT | _NULL),
    ("response", _IN_LLM, _TEXT | _NULL),
)
(
    _ID, _SOURCE, _NAME, _TIMESTAMP, _ORGANIZATION, _EXTERNAL_ID, _CUSTOMER_ID, _EXTERNAL_CUSTOMER_ID, _INGESTED_AT,
    _METADATA, _CUSTOMER,
) = range(11)  # fmt: skip
_COST, _LLM, _AMOUNT, _CURRENCY = range(16, 20)
_LLM_NEEDS = 0b11111 << 20
# What stands under another name: a property of metadata, or anything deeper down.
_PROPERTY, _OTHER = len(_MEMBERS), len(_MEMBERS) + 1
_FOUND = len(_MEMBERS) + 2

_LEVELS = np.array([level for _, level, _ in _MEMBERS], np.int64)
_ALLOWED = np.array([*(kinds for _, _, kinds in _MEMBERS), _TEXT | _INTEGER | _DECIMAL | _BOOLEAN, _ANYTHING], np.int64)
# Names are compared by their sizes and three words: the first eight bytes, the last eight and those between.
_LONGEST_NAME, _SLOTS = 24, 256


def _words_of(name: bytes) -> list[int]:
    size = len(name)
    if size <= 8:
        return [_signed(name.ljust(8, b"\0")), 0, 0]
    return [_signed(name[start : start + 8]) for start in (0, min(8, size - 8), size - 8)]


_NAME_SIZES = np.array([len(name) for name, _, _ in _MEMBERS], np.int64)
_NAME_WORDS = np.array([_words_of(name.encode()) for name, _, _ in _MEMBERS], np.int64)


def _slot_of(word: int, size: int) -> int:
    return (word ^ word >> 7 ^ word >> 20 ^ word >> 33 ^ word >> 46 ^ size) & (_SLOTS - 1)


_slot = _compiled(_slot_of)


def _slots() -> Integers:
    """Return the numbers of names where `_name_of` looks for them."""
    slots = np.full(_SLOTS, -1, np.int64)
    for number, (size, words) in enumerate(zip(_NAME_SIZES.tolist(), _NAME_WORDS.tolist(), strict=True)):
        slot = _slot_of(words[0], size)
        while slots[slot] >= 0:
            slot = (slot + 1) % _SLOTS
        slots[slot] = number
    return slots


_NAME_SLOTS = _slots()


@_compiled
def _name_of(level: int, start: int, end: int) -> int:
    """Return the number of the name that a key of an object is, or that of all others; -1 in a record."""
    size = end - start
    if level != _ELSEWHERE and size <= _LONGEST_NAME:
        first, middle, last = _word_at(start) & _FIRST[min(size, 8)], 0, 0
        if size > 8:
            middle, last = _word_at(min(start + 8, end - 8)), _word_at(end - 8)
        slot = _slot(first, size)
        while _NAME_SLOTS[slot] >= 0:
            name = int(_NAME_SLOTS[slot])
            is_it = _NAME_SIZES[name] == size and _LEVELS[name] == level
            if (
                is_it
                and _NAME_WORDS[name, 0] == first
                and _NAME_WORDS[name, 1] == middle
                and _NAME_WORDS[name, 2] == last
            ):
                return name
            slot = (slot + 1) & (_SLOTS - 1)
    return -1 if level == _IN_RECORD else _PROPERTY if level == _IN_METADATA else _OTHER


# A record


@_compiled
def _walk(at: int, text_limit: int, keys: Integers, levels: Integers, found: Integers) -> tuple[int, int, bool]:
    """Walk through the object that begins at `at`: strict JSON, no key twice, fields of the kinds they may be.

    Return the place after it, which fields it has, as bits, and whether its metadata is as a submission's. `found`
    gets each field's kind, start and end; `levels` is room for what is open: its level, and where its keys begin or -1.
    """
    depth, count, present, is_sent = 0, 0, 0, True
    level, name = _ELSEWHERE, _OTHER
    while True:
        byte, start = _byte_at(at), at
        is_open = byte in (_OBJECT_BEGIN, _LIST_BEGIN)
        if is_open:
            kind = _OBJECT if byte == _OBJECT_BEGIN else _LIST
            at += 1
        else:
            at, kind = _after_scalar(at)
            if at < 0:
                return -1, 0, False
        if not _ALLOWED[name] & kind:
            if level == _IN_RECORD:
                return -1, 0, False
            is_sent = False
        if name < _PROPERTY:
            present |= 1 << name
            found[name, 0], found[name, 1], found[name, 2] = kind, start, at
        elif name == _PROPERTY and kind == _TEXT:
            is_sent &= 1 <= at - start - 2 <= text_limit
        if is_open:
            if depth == _DEPTH_LIMIT:
                return -1, 0, False
            level = _level_in(depth, name, kind)
            levels[depth, 0], levels[depth, 1] = level, count if kind == _OBJECT else -1
            depth += 1
            at = _after_blanks(at)
            is_open = _byte_at(at) != byte + 2  # the closing bracket of the same sort
        while not is_open:
            at = _after_blanks(at)
            level, base = levels[depth - 1, 0], levels[depth - 1, 1]
            if _byte_at(at) == _COMMA:
                at = _after_blanks(at + 1)
                break
            if _byte_at(at) != (_LIST_END if base < 0 else _OBJECT_END):
                return -1, 0, False
            at += 1
            depth -= 1
            if base >= 0:
                count = base
            if depth == 0:
                return at, present, is_sent
        name, base = _OTHER, levels[depth - 1, 1]
        if base >= 0:
            start = at + 1
            at = _after_key(at)
            if at < 0 or count == _KEYS_LIMIT:
                return -1, 0, False
            name = _name_of(level, start, at)
            if name < _PROPERTY:
                if name < 0 or present >> name & 1:
                    return -1, 0, False
            elif not _is_new(start, at, keys, base, count):
                return -1, 0, False
            else:
                count += 1
            at = _after_blanks(at + 1)
            if _byte_at(at) != _COLON:
                return -1, 0, False
            at = _after_blanks(at + 1)


@_compiled
def _level_in(depth: int, name: int, kind: int) -> int:
    """Return the level of what an object or a list holds."""
    if kind != _OBJECT:
        return _ELSEWHERE
    if depth == 0:
        return _IN_RECORD
    return _IN_METADATA if name == _METADATA else _IN_COST if name == _COST else _IN_LLM if name == _LLM else _ELSEWHERE


@_compiled
def _shape_of(present: int, is_sent: bool, found: Integers, latest: int, name_limit: int) -> int:
    """Return which shape of event a record surely is: 0 none, 1 submitted, 2 recorded by a user, 3 by the system.

    `latest` is the second from which a submission may be in the future.
    """
    if not present >> _NAME & 1 or not _has_plain_texts(present, found):
        return 0
    second, is_timed = 0, _has(present, found, _TIMESTAMP)
    if is_timed:
        end, second = _after_instant(found[_TIMESTAMP, 1])
        if end < 0:
            return 0
    if _has(present, found, _INGESTED_AT) and _after_instant(found[_INGESTED_AT, 1])[0] < 0:
        return 0
    source = 0
    if _has(present, found, _SOURCE):
        start, end = found[_SOURCE, 1], found[_SOURCE, 2]
        source = 2 if _is_short(start, end, _USER) else 3 if _is_short(start, end, _SYSTEM) else 0
        if source == 0:
            return 0
    if present >> _ID & 1:
        return source if is_timed else 0
    if source or not is_sent or not _has(present, found, _EXTERNAL_ID):
        return 0
    if not (_has(present, found, _CUSTOMER_ID) or _has(present, found, _EXTERNAL_CUSTOMER_ID)):
        return 0
    if present >> _METADATA & 1 and not _has_sent_metadata(present, found):
        return 0
    if found[_NAME, 2] - found[_NAME, 1] - 2 > name_limit or (is_timed and second >= latest):
        return 0
    return 1


@_compiled
def _has(present: int, found: Integers, name: int) -> bool:
    return bool(present >> name & 1) and found[name, 0] != _NULL


@_compiled
def _has_plain_texts(present: int, found: Integers) -> bool:
    """Tell whether what a key is made of stands there as it stands in JSON, ids in ASCII for they are lower-cased."""
    for name in (_ID, _ORGANIZATION, _EXTERNAL_ID):
        if _has(present, found, name):
            for place in range(found[name, 1], found[name, 2]):
                if _byte_at(place) == _BACKSLASH or (name == _ID and _byte_at(place) >= 127):
                    return False
    return True


@_compiled
def _has_sent_metadata(present: int, found: Integers) -> bool:
    """Tell whether the reserved members of metadata are complete; `_walk` saw to the kinds of all."""
    if found[_METADATA, 0] == _NULL:
        return False
    if present >> _LLM & 1 and present & _LLM_NEEDS != _LLM_NEEDS:
        return False
    if not present >> _COST & 1:
        return True
    if not present >> _AMOUNT & 1 or not present >> _CURRENCY & 1:
        return False
    start, end = found[_CURRENCY, 1], found[_CURRENCY, 2]
    return _is_short(start, end, _USD) and _is_amount(found[_AMOUNT, 1], found[_AMOUNT, 2])


_USER, _SYSTEM, _USD = (_signed(text.ljust(8, b"\0")) for text in (b'"user"', b'"system"', b'"usd"'))


@_compiled
def _is_short(start: int, end: int, word: int) -> bool:
    """Tell whether the bytes between two addresses are these eight or, where zeros end them, fewer."""
    return end - start <= 8 and _word_at(start) & _FIRST[end - start] == word


# Keys of events


_SINES = np.array([int(abs(math.sin(number + 1)) * 2**32) for number in range(64)], np.int64)
_WORD = 0xFFFFFFFF


@_compiled
def _turned(a: int, b: int, mixed: int, word: int, sine: int, shift: int) -> int:
    total = (a + (mixed & _WORD) + word + sine) & _WORD
    return (b + (total << shift | total >> (32 - shift))) & _WORD


@_compiled
def _add_md5_block(words: Integers, state: Integers) -> None:
    """Add 16 words to an MD5 (RFC 1321), whose state is four words of 32 bits."""
    a, b, c, d = state[0], state[1], state[2], state[3]
    for step in range(0, 16, 4):
        a = _turned(a, b, d ^ b & (c ^ d), words[step], _SINES[step], 7)
        d = _turned(d, a, c ^ a & (b ^ c), words[step + 1], _SINES[step + 1], 12)
        c = _turned(c, d, b ^ d & (a ^ b), words[step + 2], _SINES[step + 2], 17)
        b = _turned(b, c, a ^ c & (d ^ a), words[step + 3], _SINES[step + 3], 22)
    for step in range(16, 32, 4):
        a = _turned(a, b, c ^ d & (b ^ c), words[step * 5 + 1 & 15], _SINES[step], 5)
        d = _turned(d, a, b ^ c & (a ^ b), words[step * 5 + 6 & 15], _SINES[step + 1], 9)
        c = _turned(c, d, a ^ b & (d ^ a), words[step * 5 + 11 & 15], _SINES[step + 2], 14)
        b = _turned(b, c, d ^ a & (c ^ d), words[step * 5 + 16 & 15], _SINES[step + 3], 20)
    for step in range(32, 48, 4):
        a = _turned(a, b, b ^ c ^ d, words[step * 3 + 5 & 15], _SINES[step], 4)
        d = _turned(d, a, a ^ b ^ c, words[step * 3 + 8 & 15], _SINES[step + 1], 11)
        c = _turned(c, d, d ^ a ^ b, words[step * 3 + 11 & 15], _SINES[step + 2], 16)
        b = _turned(b, c, c ^ d ^ a, words[step * 3 + 14 & 15], _SINES[step + 3], 23)
    for step in range(48, 64, 4):
        a = _turned(a, b, c ^ (b | d ^ _WORD), words[step * 7 & 15], _SINES[step], 6)
        d = _turned(d, a, b ^ (a | c ^ _WORD), words[step * 7 + 7 & 15], _SINES[step + 1], 10)
        c = _turned(c, d, a ^ (d | b ^ _WORD), words[step * 7 + 14 & 15], _SINES[step + 2], 15)
        b = _turned(b, c, d ^ (c | a ^ _WORD), words[step * 7 + 21 & 15], _SINES[step + 3], 21)
    state[0], state[1] = (state[0] + a) & _WORD, (state[1] + b) & _WORD
    state[2], state[3] = (state[2] + c) & _WORD, (state[3] + d) & _WORD


@_compiled
def _put_md5(text: Bytes, size: int, words: Integers, state: Integers) -> None:
    """Put the MD5 of `text` up to `size` into `state`; there must be room for 72 bytes more behind it."""
    end = (size + 72) // 64 * 64
    text[size] = 128
    for place in range(size + 1, end):
        text[place] = 0
    for place in range(8):
        text[end - 8 + place] = size * 8 >> 8 * place & 255
    state[0], state[1], state[2], state[3] = 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476
    for block in range(0, end, 64):
        for number in range(16):
            words[number] = _four_bytes(text, block + 4 * number)
        _add_md5_block(words, state)


@_compiled
def _four_bytes(text: Bytes, at: int) -> int:
    return int(text[at] | text[at + 1] << 8 | text[at + 2] << 16 | text[at + 3] << 24)


@_compiled
def _eight_bytes_of(state: Integers) -> np.uint64:
    """Return the number that the first eight bytes of a digest are, the first one first."""
    number = np.uint64(0)
    for place in range(8):
        number = number << np.uint64(8) | np.uint64(state[place >> 2] >> 8 * (place & 3) & 255)
    return number


@_compiled
def _append(text: Bytes, size: int, start: int, end: int) -> int:
    """Put what stands between two addresses behind a text of this size and return the new size."""
    for place in range(start, end):
        text[size] = _byte_at(place)
        size += 1
    return size


_SUBMITTED, _RECORDED = (np.frombuffer(text, np.uint8) for text in (b',"submitted",', b',"recorded",'))


@_compiled
def _key_text(text: Bytes, start: int, end: int, id_start: int, id_end: int, is_sent: bool) -> int:
    """Write the canonical text of a key, as `loaders.records` has it, and return its size; 0 where it has no room."""
    if end - start + id_end - id_start > _KEY_TEXT_LIMIT:
        return 0
    text[0] = _LIST_BEGIN
    size = _append(text, 1, start, end)
    kind = _SUBMITTED if is_sent else _RECORDED
    for place in range(len(kind)):
        text[size + place] = kind[place]
    size += len(kind)
    first = size
    size = _append(text, size, id_start, id_end)
    if not is_sent:
        for place in range(first, size):
            text[place] += 32 if 65 <= text[place] <= 90 else 0
    text[size] = _LIST_END
    return size + 1


# All lines


@_compiled
def _put_view(views: Integers32, row: int, number: int, base: int, start: int, end: int) -> None:
    """Put a text as an Arrow string view: its size, then itself, or four bytes, a buffer's number and a place there.

    `base` is the buffer's address.
    """
    size = end - start
    views[row, 0] = size
    if size > 12:
        views[row, 1], views[row, 2], views[row, 3] = _word_at(start), number, start - base
        return
    views[row, 1] = views[row, 2] = views[row, 3] = 0
    for place in range(size):
        views[row, 1 + (place >> 2)] |= _byte_at(start + place) << 8 * (place & 3)


def judge_lines(
    buffer: Bytes,
    starts: Integers,
    ends: Integers,
    limits: Integers,
    stand_in: Bytes,
    stand_in_json: Bytes,
    lines: Integers,
    shapes: npt.NDArray[np.int8],
    keys: npt.NDArray[np.uint32],
    hashes: npt.NDArray[np.uint64],
    payloads: Integers32,
    organizations: Integers32,
) -> int:
    """Fill the last six with a row for each plain line and return how many there are.

    They are the line's number, its shape (see `_shape_of`), its key and the key's first eight bytes as a number, the
    line and its organization as string views of the buffer, or of `stand_in` as a second one. `limits` are the bytes
    of a record, of a name and of a text in metadata, and the second from which a submission may be in the future.
    A line less than `_MARGIN` away from the end of the buffer is not plain.
    """
    record_limit, name_limit, text_limit, latest = limits
    open_keys, levels = np.empty((_KEYS_LIMIT, 3), np.int64), np.empty((_DEPTH_LIMIT, 2), np.int64)
    found, state = np.empty((_FOUND, 3), np.int64), np.empty(4, np.int64)
    words = np.empty(16, np.int64)
    text = np.empty(_KEY_TEXT_LIMIT + 200, np.uint8)
    base, other_base, other_json = _address_of(buffer), _address_of(stand_in), _address_of(stand_in_json)
    row = 0
    for line in range(len(starts)):
        if ends[line] + _MARGIN > len(buffer) or ends[line] - starts[line] > record_limit:
            continue
        start, end = base + starts[line], base + ends[line]
        if _byte_at(start) != _OBJECT_BEGIN:
            continue
        after, present, is_sent = _walk(start, text_limit, open_keys, levels, found)
        if after != end:
            continue
        shape = _shape_of(present, is_sent, found, latest, name_limit)
        if shape == 0:
            continue
        named = _EXTERNAL_ID if shape == 1 else _ID
        id_start, id_end = found[named, 1], found[named, 2]
        if _has(present, found, _ORGANIZATION) and found[_ORGANIZATION, 2] - found[_ORGANIZATION, 1] > 2:
            first, last = found[_ORGANIZATION, 1], found[_ORGANIZATION, 2]
            size = _key_text(text, first, last, id_start, id_end, shape == 1)
            _put_view(organizations, row, 0, base, first + 1, last - 1)
        elif len(stand_in) and not _has(present, found, _CUSTOMER):
            size = _key_text(text, other_json, other_json + len(stand_in_json), id_start, id_end, shape == 1)
            _put_view(organizations, row, 1, other_base, other_base, other_base + len(stand_in))
        else:
            continue
        if size == 0:
            continue
        _put_md5(text, size, words, state)
        keys[row, 0], keys[row, 1], keys[row, 2], keys[row, 3] = state[0], state[1], state[2], state[3]
        hashes[row] = _eight_bytes_of(state)
        lines[row], shapes[row] = line, shape
        _put_view(payloads, row, 0, base, start, end)
        row += 1
    return row


_TEXT_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_SIGNATURE = types.int64(
    _TEXT_BYTES, types.int64[::1], types.int64[::1], types.int64[::1], _TEXT_BYTES, _TEXT_BYTES,
    types.int64[::1], types.int8[::1], types.uint32[:, ::1], types.uint64[::1], types.int32[:, ::1],
    types.int32[:, ::1],
)  # fmt: skip


def load(folder: Path) -> Callable[..., int]:
    """Return `judge_lines`, compiled by an earlier run or now, which takes some seconds.

    It is kept beside this file, where Python keeps what it compiles, or in `folder` where nobody may write there.
    """
    own = Path(__file__).with_name("__pycache__")
    if not os.access(own if own.exists() else own.parent, os.W_OK):
        numba.config.CACHE_DIR = str(folder)
    try:
        return _judge_lines(cache=True)
    except OSError:  # a full disk: the next run compiles again
        return _judge_lines(cache=False)


def _judge_lines(*, cache: bool) -> Callable[..., int]:
    compiled = numba.njit(_SIGNATURE, nogil=True, error_model="numpy", cache=cache)(judge_lines)
    return cast(Callable[..., int], compiled)
