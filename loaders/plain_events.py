"""Judging plain events in SQL: the fast path before `loaders.records`, which stays the definition.

A line is plain where SQL proves that `records.examine` would give exactly one `Event` for it, and with which values.
The proof has three parts, because DuckDB's own JSON reader takes NaN, 1e999, trailing commas and repeated keys:

- a regular expression is the grammar of a plain line: strict JSON with known top-level fields of known types, numbers
  that fit a double, no NUL, no lone surrogate, instants that exist, metadata as Polar takes it;
- counts of keys show that no key stands twice in an object;
- comparisons show that the fields a shape needs are there, and that a submission is not in the future.

Whatever is not proven is not refused: it goes to the Python judge, which may well accept it.
"""

from datetime import UTC, timedelta

import duckdb
import msgspec

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
            "organization_id",
            "customer_id",
            "external_customer_id",
            "member_id",
            "external_member_id",
            "parent_id",
            "label",
            "external_id",
            "id",
            "source",
        ),
        _any(_TEXT, "null"),
    ),
    _member(_any("timestamp", "ingested_at"), _any(_INSTANT, "null")),
    _member("child_count", _any(_INTEGER, "null")),
    _member("customer", "null"),
)
SENT_LINE = _object(_any(*_COMMON, _member("metadata", _SENT_METADATA)))
READ_LINE = _object(_any(*_COMMON, _member("customer", _CUSTOMER), _member("metadata", _any("null", _READ_METADATA))))

# The only keys of a plain line. No other kind of record and nothing that holds records has none but these.
_FIELDS = (
    "id", "source", "name", "timestamp", "organization_id", "external_id", "customer_id", "external_customer_id",
    "customer", "metadata", "member_id", "external_member_id", "parent_id", "ingested_at", "label", "child_count",
)  # fmt: skip
_LLM_REQUIRED = "['vendor', 'model', 'input_tokens', 'output_tokens', 'total_tokens']"
# An offset moves an instant by less than this.
_FARTHEST_ZONE = timedelta(hours=15)


def _paths(*paths: str) -> str:
    return "[" + ", ".join(f"'$.{path}'" if path else "'$'" for path in paths) + "]"


def _field(name: str) -> str:
    return f"fields[{_FIELDS.index(name) + 1}]"


def _has_no_repeated(keys: str) -> str:
    """No text stands twice in a list. Few are compared in pairs, which costs a fifth of hashing them."""
    branches = [f"when coalesce(len({keys}), 0) < 2 then true"]
    for count in range(2, 6):
        pairs = [f"{keys}[{one}] != {keys}[{other}]" for other in range(2, count + 1) for one in range(1, other)]
        branches.append(f"when len({keys}) = {count} then {' and '.join(pairs)}")
    return f"(case {' '.join(branches)} else len(list_distinct({keys})) = len({keys}) end)"


_IS_LLM = f"""(
    keys[3] is null or keys[3] = {_LLM_REQUIRED}
    or (list_has_all(keys[3], {_LLM_REQUIRED}) and len(list_distinct(keys[3])) = len(keys[3]))
)"""

# All that is put together here is constant: names of fields and limits. CASE, not AND: the order of conditions is the
# optimizer's to choose, and on a line that is no JSON functions raise.
# Columns that are computed once stand in a subquery of their own; nothing filters, so that nothing is pushed down.
_JUDGE = rf"""
create or replace temp table plain_lines as
select
    line, line + $records_before + 1 as record_number, organization_id,
    (record_key::uhugeint >> 64)::ubigint as key_hash, record_key, shape, source
from (
    select
        line,
        case when organization_json = $stand_in_json then $stand_in else organization_json[2:-2] end as organization_id,
        md5(
            '[' || organization_json
            || case shape when 'recorded' then ',"recorded",' || lower({_field("id")})
                when 'submitted' then ',"submitted",' || {_field("external_id")} end
            || ']'
        )::uuid as record_key,
        shape,
        case shape when 'recorded' then {_field("source")}[2:-2] else 'user' end as source
    from (
        select
            *,
            case
                when {_field("organization_id")} not in ('null', '""')
                    then case when not contains({_field("organization_id")}, '\') then {_field("organization_id")} end
                when {_field("customer")} is null or {_field("customer")} = 'null' then $stand_in_json
            end as organization_json,
            case
                when grammar is null or len(keys[1]) != list_count(fields) then null
                when {_field("id")} is not null then case
                    when {_field("id")} != 'null' and {_field("source")} in ('"user"', '"system"')
                        and {_field("name")} != 'null' and {_field("timestamp")} != 'null'
                        and strlen({_field("id")}) = length({_field("id")}) and not contains({_field("id")}, '\')
                        and {_has_no_repeated("keys[2]")} and {_IS_LLM}
                        and {_has_no_repeated("customer_keys[1]")} and {_has_no_repeated("customer_keys[2]")}
                        and {_has_no_repeated("customer_keys[3]")}
                    then 'recorded'
                end
                when grammar = 'sent' and {_field("source")} is null and {_field("name")} != 'null'
                    and strlen({_field("name")}) <= {NAME_LENGTH_LIMIT + 2}
                    and {_field("external_id")} != 'null' and not contains({_field("external_id")}, '\')
                    and ({_field("external_customer_id")} != 'null' or {_field("customer_id")} != 'null')
                    and (
                        {_field("timestamp")} < $past_anywhere or {_field("timestamp")} is null
                        or {_field("timestamp")} = 'null'
                        or ({_field("timestamp")} < $past and suffix({_field("timestamp")}, 'Z"'))
                    )
                    and (longest_text is null or longest_text <= {TEXT_LENGTH_LIMIT + 2})
                    and {_has_no_repeated("keys[2]")} and {_IS_LLM}
                then 'submitted'
            end as shape
        from (
            select
                *,
                case when grammar is not null then json_extract(text, {_paths(*_FIELDS)})::varchar[] end as fields,
                case when grammar is not null
                    then json_keys(text, {_paths("", "metadata", "metadata._llm")})
                end as keys,
                case when grammar = 'read'
                    then json_keys(text, {_paths("customer", "customer.metadata", "customer.billing_address")})
                end as customer_keys,
                case when grammar = 'sent' and strlen(text) > {TEXT_LENGTH_LIMIT} then list_max(list_transform(
                    json_extract(text, '$.metadata.*')::varchar[],
                    lambda value: case when prefix(value, '"') then strlen(value) else 0 end
                )) end as longest_text
            from (
                select
                    line, text,
                    case when regexp_full_match(text, $sent_line) then 'sent'
                        when regexp_full_match(text, $read_line) then 'read' end as grammar
                from arrow_lines
            )
        )
    )
)
"""  # noqa: S608


def may_be_plain(context: Context) -> bool:
    """Tell whether an event may be accepted at all: not where the user named another kind."""
    return context.kind in (None, "events", "webhooks")


def judge_plain_lines(connection: duckdb.DuckDBPyConnection, context: Context, records_before: int) -> None:
    """Fill `plain_lines` with a verdict on each of `arrow_lines` (line, text); without a record_key it is not plain.

    `record_number` counts from `records_before` as if each line held one record.
    """
    stand_in = context.organization_id or None
    latest = (context.now + CLOCK_TOLERANCE).astimezone(UTC)
    connection.execute(
        _JUDGE,
        {
            "records_before": records_before,
            "stand_in": stand_in,
            "stand_in_json": stand_in and msgspec.json.encode(stand_in).decode(),
            "past": f'"{latest:%Y-%m-%dT%H:%M:%S}',
            "past_anywhere": f'"{latest - _FARTHEST_ZONE:%Y-%m-%dT%H:%M:%S}',
            "sent_line": SENT_LINE,
            "read_line": READ_LINE,
        },
    )
