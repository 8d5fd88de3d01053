{#
    How dbt gives the rows of unit tests their types. A key that is a UUID in the warehouse may have a name of up to 16
    letters in a test: the UUID of their bytes, which sorts as the name does. `unattributed` is what it is elsewhere.
#}
{% macro duckdb__safe_cast(field, type) -%}
    {%- if type == 'UUID' -%}
        {%- set digits = 'hex(cast(' ~ field ~ ' as varchar))' -%}
        coalesce(
            case when cast({{ field }} as varchar) = 'unattributed' then {{ unattributed() }} end,
            try_cast(cast({{ field }} as varchar) as uuid),
            cast({{ digits }} || repeat('0', 32 - length({{ digits }})) as uuid)
        )
    {%- else -%}
        cast({{ field }} as {{ type }})
    {%- endif -%}
{%- endmacro %}
