{#
    Text or TIMESTAMPTZ to TIMESTAMP in UTC; text without an offset is read as UTC; null where it is no timestamp.
    A plain cast to TIMESTAMP would drop the offset without a word.
#}
{% macro utc(expression) -%}
    (try_cast({{ expression }} as timestamptz) at time zone 'UTC')
{%- endmacro %}
