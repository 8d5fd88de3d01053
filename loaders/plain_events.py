"""Judging plain events many at a time: the fast path before `loaders.records`, which stays the definition.

A line is plain where it is proven that `records.examine` would give exactly one `Event` for it, and with which values.
The proof has three parts, because DuckDB's own JSON reader takes NaN, 1e999, trailing commas and repeated keys:

- a regular expression is the grammar of a plain line: strict JSON with known top-level fields of known types, numbers
  that fit a double, no NUL, no lone surrogate, instants that exist, metadata as Polar takes it. Polars matches it, at
  half of what DuckDB takes for the same, and outside DuckDB's threads;
- each different sequence of keys is looked at once, in Python: no key stands twice in an object. Events come from
  programs, so there are few sequences however many the events;
- comparisons in SQL show that the fields a shape needs are there, and that a submission is not in the future.

Whatever is not proven is not refused: it goes to the Python judge, which may well accept it.
"""

from datetime import UTC, timedelta
from functools import lru_cache

import duckdb
import msgspec
import pyarrow as pa

from loaders.records import CLOCK_TOLERANCE, NAME_LENGTH_LIMIT, TEXT_LENGTH_LIMIT, Context


def _any(*alternatives: str) -> str:
    return "(?:" + "|".join(alternatives) + ")"


def _member(names: str, value: str) -> str:
    return f'"{names}" ?: ?{value}'


def _object(member: str, *, at_least_one: bool = False) -> str:
    return rf"\{{ ?{member}(?: ?, ?{member})* ?\}}" if at_least_one else rf"\{{ ?(?:{member}(?: ?, ?{member})*)? ?\}}"


# A character of a text. Any escape but NUL's and those of lone surrogates, which the judge refuses.
_CHARACTER = r'[^"\\\x00-\x1f]'
_HEX = "[0-9a-fA-F]"
_UNICODE_ESCAPE = _any(
    rf"000[1-9a-fA-F]|00[1-9a-fA-F]{_HEX}|0[1-9a-fA-F]{_HEX}{{2}}|[1-9a-cA-CeEfF]{_HEX}{{3}}|[dD][0-7]{_HEX}{{2}}",
    rf"[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}",
)
_ANY_CHARACTER = _any(_CHARACTER, r'\\["\\/bfnrt]', rf"\\u{_UNICODE_ESCAPE}")
_TEXT = f'"{_ANY_CHARACTER}*"'
_KEY = f'"{_CHARACTER}*"'
_INTEGER = "-?(?:0|[1-9][0-9]{0,17})"
# At most 10 to the power of 117: no double overflows.
_NUMBER = rf"{_INTEGER}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{{1,2}})?"
_SCALAR = _any(_TEXT, _NUMBER, "true", "false", "null")
_VALUE = _any(_SCALAR, rf"\[ ?(?:{_SCALAR}(?: ?, ?{_SCALAR})*)? ?\]")

# Years from 1000 to 2999 stay between 1 and 9999 in every zone. Python and DuckDB know no second 60.
_DAY = _any(
    "(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])",
    "(?:0[13-9]|1[0-2])-(?:29|30)",
    "(?:0[13578]|1[02])-31",
)
_LEAP_DAY = "[12][0-9](?:0[48]|[2468][048]|[13579][26])-02-29"
_INSTANT = (
    rf'"(?:[12][0-9]{{3}}-{_DAY}|{_LEAP_DAY})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,9}})?'
    r'(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"'
)

# Names that begin with an underscore may be reserved: only the known ones are plain.
_METADATA_KEY = rf'"(?:[^_"\\\x00-\x1f]{_CHARACTER}*)?"'
_COST_NUMBER = r"-?(?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,12})?"
# As Python writes small floats: 1.2e-05. Digits and exponent together stay within 12 decimals.
_SMALL_COST = _any(*(rf"-?[1-9](?:\.[0-9]{{1,{12 - power}}})?[eE]-0?{power}" for power in range(1, 10)))
_COST_AMOUNT = _member("amount", _any(_COST_NUMBER, f'"{_COST_NUMBER}"', _SMALL_COST))
_COST_CURRENCY = _member("currency", '"usd"')
_COST = rf"\{{ ?(?:{_COST_AMOUNT} ?, ?{_COST_CURRENCY}|{_COST_CURRENCY} ?, ?{_COST_AMOUNT}) ?\}}"
_LLM = _object(
    _any(
        _member(_any("vendor", "model"), _TEXT),
        _member(_any("prompt", "response"), _any(_TEXT, "null")),
        _member(_any("input_tokens", "output_tokens", "total_tokens"), _INTEGER),
        _member("cached_input_tokens", _any(_INTEGER, "null")),
    )
)
_RESERVED = (_member("_cost", _COST), _member("_llm", _LLM))
_SENT_VALUE = _any(f'"{_ANY_CHARACTER}+"', _NUMBER, "true", "false")
_SENT_METADATA = _object(_any(f"{_METADATA_KEY} ?: ?{_SENT_VALUE}", *_RESERVED))
_READ_METADATA = _object(_any(f"{_METADATA_KEY} ?: ?{_VALUE}", *_RESERVED))
_FLAT_OBJECT = _object(f"{_KEY} ?: ?{_SCALAR}")
_CUSTOMER = _object(_any(f"{_KEY} ?: ?{_VALUE}", _member(_any("metadata", "billing_address"), _FLAT_OBJECT)))

_COMMON = (
    _member(
        _any(
            "name",
            "customer_id",
            "external_customer_id",
            "member_id",
            "external_member_id",
            "parent_id",
            "label",
        ),
        _any(_TEXT, "null"),
    ),
    # What a key is made of: as it stands it is its own JSON. Ids of Polar's are compared without regard to case.
    _member(_any("organization_id", "external_id"), _any(_KEY, "null")),
    _member("id", r'"[^"\\\x00-\x1f\x7f-\x{10ffff}]*"'),
    _member("source", _any('"user"', '"system"')),
    _member(_any("timestamp", "ingested_at"), _any(_INSTANT, "null")),
    _member("child_count", _any(_INTEGER, "null")),
    _member("customer", "null"),
)
SENT_LINE = _object(_any(*_COMMON, _member("metadata", _SENT_METADATA)))
READ_LINE = _object(_any(*_COMMON, _member("customer", _CUSTOMER), _member("metadata", _any("null", _READ_METADATA))))

_REQUIRED_LLM_KEYS = {"vendor", "model", "input_tokens", "output_tokens", "total_tokens"}
# An offset moves an instant by less than this.
_FARTHEST_ZONE = timedelta(hours=15)
_IS_SENT, _IS_READ = rf"\A{SENT_LINE}\z", rf"\A{READ_LINE}\z"

_FIELDS = (
    '{"id":"VARCHAR","source":"VARCHAR","name":"VARCHAR","timestamp":"VARCHAR","organization_id":"VARCHAR",'
    '"external_id":"VARCHAR","customer_id":"VARCHAR","external_customer_id":"VARCHAR","customer":"JSON"}'
)
# What separates keys and lists of keys: no plain line has such characters.
_KEY_END, _LIST_END = "\x1f", "\x1e"


def _key_lists(lines: str, *paths: str) -> str:
    """Select lines and the keys of some of their objects as one text, without the objects that are missing."""
    quoted = ", ".join(f"'$.{path}'" if path else "'$'" for path in paths)
    lists = ", ".join(f"array_to_string(keys[{number}], chr(31))" for number in range(1, len(paths) + 1))
    keys = f"select line, json_keys(text, [{quoted}]) as keys from arrow_lines where {lines}"  # noqa: S608
    return f"select line, concat_ws(chr(30), {lists}) as key_lists from ({keys})"  # noqa: S608


_LINE_KEYS = _key_lists("is_sent or is_read", "", "metadata", "metadata._llm")
_CUSTOMER_KEYS = _key_lists("is_read", "customer", "customer.metadata", "customer.billing_address")

# All that is put together here is constant: names of fields and limits. CASE, not AND: the order of conditions is the
# optimizer's to choose, and on a line that is no JSON functions raise.
# Columns that are computed once stand in a subquery of their own; nothing filters, so that nothing is pushed down.
_JUDGE = rf"""
create or replace temp table plain_lines as
select
    line, line + $records_before + 1 as record_number, byte_offset, organization_id,
    (record_key::uhugeint >> 64)::ubigint as key_hash, record_key, shape, source, text as payload
from (
    select
        line, byte_offset, text, organization_id, shape, coalesce(fields.source, 'user') as source,
        md5(
            '[' || case when fields.organization_id = organization_id then '"' || organization_id || '"'
                when organization_id = $stand_in then $stand_in_json end
            || case shape when 'recorded' then ',"recorded","' || lower(fields.id)
                when 'submitted' then ',"submitted","' || fields.external_id end
            || '"]'
        )::uuid as record_key
    from (
        select
            *,
            case
                when fields.organization_id != '' then fields.organization_id
                when coalesce(fields.customer, 'null') = 'null' then $stand_in
            end as organization_id,
            case
                when fields.id is not null then case
                    when fields.source is not null and fields.name is not null and fields.timestamp is not null
                    then 'recorded'
                end
                when is_sent and fields.source is null and strlen(fields.name) <= {NAME_LENGTH_LIMIT}
                    and fields.external_id is not null
                    and (fields.external_customer_id is not null or fields.customer_id is not null)
                    and (
                        fields.timestamp is null or fields.timestamp < $past_anywhere
                        or (fields.timestamp < $past and suffix(fields.timestamp, 'Z'))
                    )
                    and (longest_text is null or longest_text <= {TEXT_LENGTH_LIMIT + 2})
                then 'submitted'
            end as shape
        from (
            select
                *,
                case when is_sent or is_read then from_json(text, '{_FIELDS}') end as fields,
                case when is_sent and strlen(text) > {TEXT_LENGTH_LIMIT} then list_max(list_transform(
                    json_extract(text, '$.metadata.*')::varchar[],
                    lambda value: case when prefix(value, '"') then strlen(value) else 0 end
                )) end as longest_text
            from arrow_lines
        )
    )
)
"""  # noqa: S608


def may_be_plain(context: Context) -> bool:
    """Tell whether an event may be accepted at all: not where the user named another kind."""
    return context.kind in (None, "events", "webhooks")


def match_grammar(texts: pa.Array) -> dict[str, pa.Array]:
    """Return, for each text, whether it is a plain line as sent (`is_sent`) or, if not, as read back (`is_read`)."""
    import polars as pl  # an eighth of a second, which few lines would not be worth

    lines = pl.Series(pl.from_arrow(texts))
    is_sent = lines.str.contains(_IS_SENT)
    is_read = pl.Series([False]).new_from_index(0, len(lines)) if is_sent.all() else lines.str.contains(_IS_READ)
    return {"is_sent": is_sent.to_arrow(), "is_read": (is_read & ~is_sent).to_arrow()}


def judge_plain_lines(connection: duckdb.DuckDBPyConnection, context: Context, records_before: int) -> None:
    """Fill `plain_lines` with a verdict on each of `arrow_lines` (line, byte_offset, text and `match_grammar`'s).

    A line without a record_key is not plain. `record_number` counts from `records_before` as if each line held one
    record.
    """
    stand_in = context.organization_id or None
    latest = (context.now + CLOCK_TOLERANCE).astimezone(UTC)
    connection.execute(
        _JUDGE,
        {
            "records_before": records_before,
            "stand_in": stand_in,
            "stand_in_json": stand_in and msgspec.json.encode(stand_in).decode(),
            "past": f"{latest:%Y-%m-%dT%H:%M:%S}",
            "past_anywhere": f"{latest - _FARTHEST_ZONE:%Y-%m-%dT%H:%M:%S}",
        },
    )
    _refuse_repeated_keys(connection)


def _refuse_repeated_keys(connection: duckdb.DuckDBPyConnection) -> None:
    for keys, is_plain in ((_LINE_KEYS, _are_plain_keys), (_CUSTOMER_KEYS, _are_unique_keys)):
        found = connection.execute(f"select distinct key_lists from ({keys})").fetchall()  # noqa: S608
        refused = [key_lists for (key_lists,) in found if not is_plain(key_lists)]
        if refused:
            connection.execute(
                f"update plain_lines set record_key = null where line in (select line from ({keys})"  # noqa: S608
                " where key_lists in (select unnest($refused)))",
                {"refused": refused},
            )


@lru_cache(maxsize=10_000)
def _are_unique_keys(key_lists: str) -> bool:
    lists = [keys.split(_KEY_END) for keys in key_lists.split(_LIST_END)]
    return all(len(set(keys)) == len(keys) for keys in lists)


@lru_cache(maxsize=10_000)
def _are_plain_keys(key_lists: str) -> bool:
    """Tell whether the keys of a line, its metadata and its `_llm`, where it has them, are as a plain line's."""
    llm_keys = key_lists.split(_LIST_END)[2:]
    return _are_unique_keys(key_lists) and all(set(keys.split(_KEY_END)) >= _REQUIRED_LLM_KEYS for keys in llm_keys)
