{# An instant in UTC as the wall clock of `metrics_time_zone` shows it: TIMESTAMP, for days and months to be cut from. #}
{% macro local_time(instant) -%}
    {%- if var('metrics_time_zone') == 'UTC' -%}
        ({{ instant }})
    {%- else -%}
        (({{ instant }} at time zone 'UTC') at time zone {{ dbt.string_literal(var('metrics_time_zone')) }})
    {%- endif -%}
{%- endmacro %}


{# The day of that clock. #}
{% macro local_date(instant) -%}
    cast({{ local_time(instant) }} as date)
{%- endmacro %}
