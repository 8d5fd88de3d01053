{# The first eight bytes of an event's key, as `raw.event_keys` holds them. #}
{% macro key_hash(record_key) -%}
    cast((cast({{ record_key }} as uhugeint) >> 64) as ubigint)
{%- endmacro %}
